"""Mends of private parts of Dagster, each with the fault it mends and a test that shows it."""
