"""Compute cards: where payloads of each dtype run, read from YAML and checked."""
