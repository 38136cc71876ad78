"""A target as files: data.npz, params.eqx, meta.json and figures. No pickle.

params.eqx is a dict of float64 numpy arrays; its template is read from meta.json beside it, so that
a file means the same numbers in a process of either dtype.
"""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from lambda_hat_core import custom, files
from lambda_hat_core.config import model
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.target import Loss, Target
from lambda_hat_core.targets.assemble import loss_of
from lambda_hat_core.targets.building import BuiltTarget
from lambda_hat_core.types import Batch, Weights

_UNSEEN = 0.05
"""Difference in nbeta L_n(w*) that no estimate can see."""


def save(built: BuiltTarget, folder: Path) -> None:
    """Write a built target into an existing folder."""
    from lambda_hat_core.targets.figures import draw_figures

    np.savez(folder / "data.npz", allow_pickle=False, **built.data)
    eqx.tree_serialise_leaves(folder / "params.eqx", built.params)
    (folder / "meta.json").write_text(files.to_json(built.meta, indent=1))
    draw_figures(built, folder / "figures")


def params(folder: Path) -> dict[str, np.ndarray]:
    """Return w* as named float64 arrays."""
    meta = json.loads((folder / "meta.json").read_bytes())
    template = {name: np.zeros(shape, np.float64) for name, shape in meta["shapes"]}
    return eqx.tree_deserialise_leaves(folder / "params.eqx", template)


def load(spec: TargetSpec, folder: Path, posterior: PosteriorSpec) -> Target:
    """Return a stored target with the posterior's loss, in this process's dtype.

    Raises:
        ValueError: if the target has no such loss.
    """
    meta = json.loads((folder / "meta.json").read_bytes())
    dtype = jnp.zeros(()).dtype
    arrays = params(folder)
    flat = np.concatenate([arrays[name].ravel() for name, _ in meta["shapes"]])
    with np.load(folder / "data.npz", allow_pickle=False) as stored:
        count = sum(name.startswith("batch") for name in stored.files)
        batch = [stored[f"batch{i}"] for i in range(count)]
    data = tuple(
        jnp.asarray(array, dtype if np.issubdtype(array.dtype, np.floating) else None)
        for array in batch
    )
    if isinstance(spec.model, model.Custom):
        if posterior.loss not in (None, "own"):
            raise ValueError(
                f"posterior.loss is {posterior.loss}, but a custom target has its own loss; use own"
            )
        loss = custom.prepare(spec.model, spec.seed).loss
        _check_same(spec.model.factory, loss, jnp.asarray(flat, dtype), data or None, meta)
    else:
        loss = loss_of(spec, posterior.loss, posterior.sigma)
    return Target(jnp.asarray(flat, dtype), data or None, loss, meta["n"])


def _check_same(factory: str, loss: Loss, w: Weights, data: Batch, meta: dict[str, Any]) -> None:
    """Refuse a factory that made another loss than when the target was built.

    jax.random draws other numbers in float32 than in float64; in params and data they are stored,
    in what the loss closes over they are not.
    """
    here = float(eqx.filter_jit(loss.mean)(w, data))
    unseen = _UNSEEN / PosteriorSpec().resolved_nbeta(meta["n"]) + 1e-4 * abs(meta["loss0"])
    if not abs(here - meta["loss0"]) <= unseen:
        raise ValueError(
            f"model.factory {factory} has L_n(w*) = {here:.6g} in {w.dtype.name}, but had "
            f"{meta['loss0']:.6g} when the target was built in float64; what the loss uses must "
            "not be drawn by jax.random in the default dtype: put it in data, or use numpy"
        )
