"""Figures, drawn with matplotlib objects on Agg: no pyplot, no rcParams, no TeX, no mathtext.

Nothing here is shared between threads, so figures may be drawn from several at once.
"""
