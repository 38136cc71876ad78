"""Tuning of samplers: objectives, certified references, studies, and their results."""
