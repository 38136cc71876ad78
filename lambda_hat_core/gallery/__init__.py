"""Galleries: all runs of an experiment side by side, as a folder that opens from disk."""
