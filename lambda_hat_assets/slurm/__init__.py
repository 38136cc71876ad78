"""Payloads as SLURM jobs, submitted over the ssh connection of dagster-slurm."""
