"""How Dagster runs execute: their processes, their slots, what they print, how they end."""
