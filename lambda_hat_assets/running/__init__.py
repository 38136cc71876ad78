"""How Dagster runs execute: in which processes, within which limits, and how they end."""
