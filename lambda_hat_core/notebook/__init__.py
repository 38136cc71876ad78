"""Estimates in a notebook: one call, its progress, and an answer that shows itself."""
