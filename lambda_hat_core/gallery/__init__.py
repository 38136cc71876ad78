"""Galleries: all runs of an experiment side by side, in a folder that can be opened from disk."""
