"""Mends of private parts of Dagster. Each names its fault, which a test shows in the stock part."""
