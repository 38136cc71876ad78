"""Turns what was computed into what Dagster keeps of it."""
