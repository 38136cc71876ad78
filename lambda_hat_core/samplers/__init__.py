"""Every sampler: one file each, `build(key, posterior, spec, *, start, spectrum) -> Tuned`."""
