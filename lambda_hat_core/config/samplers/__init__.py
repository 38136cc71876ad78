"""Every sampler by the name that experiments use: one model each, its facts beside its fields."""
