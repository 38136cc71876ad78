"""The models of the samplers: settings, defaults, and facts about each sampler."""
