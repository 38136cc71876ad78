"""From what was computed to what Dagster keeps of it."""
