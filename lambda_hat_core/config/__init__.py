"""Validated, frozen configuration. Imports no JAX, so that Dagster loads it cheaply."""
