"""Payloads on a SLURM cluster: one job a batch of keys, through dagster-slurm."""
