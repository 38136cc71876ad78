"""Processes that compute: what they are asked, how they are kept busy, and how they end."""
