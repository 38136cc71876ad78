"""Compute cards: where the payloads of each dtype run, read from YAML and validated."""
