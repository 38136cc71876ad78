"""Figures, drawn with matplotlib objects on Agg, without pyplot, rcParams, TeX or mathtext.

Threads share no state here, so several of them may draw figures at the same time.
"""
