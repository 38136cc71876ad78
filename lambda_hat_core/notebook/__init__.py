"""Estimates in a notebook: one call, its progress display, and a result with its display."""
