"""Known answers computed as in a user's process: `python -m tests.core.user SAMPLER ...`.

It prints a JSON object with, for every sampler and case, the estimate, its standard error and the
exact value; and the optimisation options of XLA, which other tests lower for speed.
"""

import json
import os
import sys

import jax

from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.sample import sample
from tests.core import mixed, vicases

CASES = {
    "quadratic": mixed.quadratic(100.0, gamma=30.0, noise=0.02),
    "singular": mixed.singular(),
}
LENGTHS = {
    # A crossing is narrow in places, where a chain with longer steps stays for hundreds of draws.
    "nuts": {"n_warmup": 200, "n_draws": 1500, "n_burn": 50, "target_acceptance": 0.95},
    "mclmc": {"n_tune": 600, "n_draws": 2000, "n_burn": 50, "thin": 4},
    "sgld": {"n_draws": 4000, "n_burn": 400, "thin": 20, "batch_size": 24},
}


def chains(sampler):
    """Return mean, standard error and exact value of a Markov chain sampler, by case."""
    for name, case in CASES.items():
        spec = RunSpec(
            target=f"tgt_{0:012}",
            sampler={"kind": sampler, "n_chains": 8, **LENGTHS[sampler]},
            posterior=PosteriorSpec(nbeta=case.nbeta, gamma=case.gamma),
            dtype="float64" if jax.config.jax_enable_x64 else "float32",
        )
        trace = sample(mixed.posterior(case), spec)
        assert trace.failure is None, trace.failure
        found = measure(trace)
        yield name, (found.llc, found.llc_se, float(case.oracle))


def families():
    """Return the same for a mixture of factor analysers."""
    for name, (target, exact) in {
        "quadratic": vicases.quadratic(100.0),
        "singular": vicases.quartic(),
    }.items():
        found = measure(vicases.run(target))
        yield name, (found.llc, found.llc_se, float(exact))


def main(samplers):
    found = {name: dict(families() if name == "vi" else chains(name)) for name in samplers}
    told = {
        "x64": jax.config.jax_enable_x64,
        "unoptimised": jax.config.values["jax_disable_most_optimizations"],
        "flags": os.environ["XLA_FLAGS"],
    }
    print(json.dumps({"found": found, "told": told}))


if __name__ == "__main__":
    main(sys.argv[1:])
