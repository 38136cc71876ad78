"""Turns experiment YAML into validated targets and runs with ids, without JAX or Dagster."""
