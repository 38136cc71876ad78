"""Converts results into materialisations, metadata and check results of Dagster."""
