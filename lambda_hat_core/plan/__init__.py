"""Experiment YAML to validated targets and runs with their ids. Imports no JAX and no Dagster."""
