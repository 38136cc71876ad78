"""The asset graph: targets, runs/<sampler>, analyses/<sampler>, galleries, llc_results."""
