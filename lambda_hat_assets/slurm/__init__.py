"""Payloads as jobs on a SLURM cluster, over the ssh connection of dagster-slurm."""
