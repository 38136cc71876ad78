"""Mends: replacements of faulty private parts of Dagster.

Each module describes the fault, and a test demonstrates it in Dagster's own code.
"""
