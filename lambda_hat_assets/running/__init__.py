"""The execution of Dagster runs: their processes, their limits, and how they end."""
