"""The use of a new sampler: once in a notebook, once in an experiment."""

import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import lambda_hat_core
from lambda_hat_core import Toy, estimate_llc
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.plan.plan import load_plan

D, N, GAMMA = 4, 1000, 50.0
EXPERIMENT = """
targets: [{model: {kind: quadratic}}]
samplers: [{name: toy, overrides: {step_fraction: 0.2}}]
"""


def loss(w, batch):
    (rows,) = batch
    return jnp.mean(jnp.sum((rows - w) ** 2, axis=-1)) / 2


rows = np.random.default_rng(0).normal(size=(N, D))
found = estimate_llc(
    loss,
    rows.mean(axis=0),
    (rows,),
    sampler="toy",
    posterior={"gamma": GAMMA},
    rel_se=0.01,
    max_fge=1e6,
    seed=1,
    progress=False,
)
Path("experiment.yaml").write_text(EXPERIMENT)
(run,) = load_plan(Path("experiment.yaml"), Path("config")).runs.values()
facts = {
    "home": lambda_hat_core.__file__,
    "llc": found.llc,
    "se": found.se,
    "reasons": found.reasons,
    "dtype": run.dtype,
    "is_toy": run.sampler == Toy(step_fraction=0.2, until=Until()),
}
json.dump(facts, sys.stdout)
