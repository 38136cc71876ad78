"""Variational inference: families fitted to the posterior, and draws from them."""
