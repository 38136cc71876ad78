"""The files of a target: data.npz, params.eqx, meta.json and figures, without pickle.

params.eqx is a dict of float64 numpy arrays. Its template is read from meta.json in the same
folder, so that the numbers are the same in a process of either dtype.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.config import model
from lambda_hat_core.config.posterior import SELF_LABELLED, PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.plan.observables import TEST
from lambda_hat_core.posterior import Target
from lambda_hat_core.samplers.observables import Observable
from lambda_hat_core.store import files
from lambda_hat_core.targets import custom
from lambda_hat_core.targets.assemble import loss_of
from lambda_hat_core.targets.building import BuiltTarget
from lambda_hat_core.targets.loss_check import check_same
from lambda_hat_core.targets.observables import chosen
from lambda_hat_core.targets.own_labels import SelfLabelled, labels, own_labels
from lambda_hat_core.targets.problem import Named
from lambda_hat_core.targets.restricted import restricted


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
    """Return a stored target with the loss of the posterior, in this process's dtype.

    Its flat vector has the parameters that the posterior samples.

    Raises:
        ValueError: if the target has no such loss, or no such parameters.
    """
    return _loaded(spec, folder, posterior, tests=False)[0]


def load_observed(
    spec: TargetSpec, folder: Path, posterior: PosteriorSpec, observables: Sequence[str]
) -> tuple[Target, tuple[Observable, ...]]:
    """Return a stored target as `load` does, and what observables name.

    Raises:
        ValueError: as in `load`, or if the target has no such observable.
    """
    target, named = _loaded(spec, folder, posterior, tests=bool(observables))
    return target, chosen(observables, named, target, f"target {spec.id}")


def _loaded(
    spec: TargetSpec, folder: Path, posterior: PosteriorSpec, *, tests: bool
) -> tuple[Target, Named]:
    """Return a target and what its observables may name; `tests`: with the held-out examples."""
    meta = json.loads((folder / "meta.json").read_bytes())
    dtype = jnp.result_type(float)
    named = params(folder)
    flat = np.concatenate([named[name].ravel() for name, _ in meta["shapes"]])
    with np.load(folder / "data.npz", allow_pickle=False) as stored:
        count = sum(name.startswith("batch") for name in stored.files)
        batch = [stored[f"batch{i}"] for i in range(count)]
        names = [name for name in sorted(stored.files) if tests and name.startswith("test")]
        held_out = [stored[name] for name in names]
    arrays, tested = (
        tuple(
            jax.device_put(
                array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array
            )
            for array in rows
        )
        for rows in (batch, held_out)
    )
    named, parts = Named({TEST: tested} if tested else {}, {}), {}
    w, data = jax.device_put(flat.astype(dtype)), arrays or None
    if isinstance(spec.model, model.Custom):
        if posterior.loss not in (None, "own", SELF_LABELLED):
            raise ValueError(
                f"posterior.loss is {posterior.loss}, but a custom target has its own loss; use own"
            )
        names = [name for name, _ in meta["shapes"]]
        made = custom.prepare(spec.model, spec.seed, names, step=spec.step)
        loss, data = made.loss, jax.tree.structure(made.data).unflatten(arrays)
        check_same(f"model.factory {spec.model.factory}", loss, w, data, meta["loss0"], meta["n"])
        if posterior.loss == SELF_LABELLED:
            identity = ("outputs", getattr(loss, "identity", None))
            made = own_labels(made._replace(data=data, start=w), posterior.sigma, identity)
            loss, data = made.loss, made.data
        named, parts = made.named, made.parts
    else:
        loss = loss_of(spec, posterior.loss, posterior.sigma)
        if isinstance(loss, SelfLabelled):
            data = (arrays[0], labels(loss, w, arrays[0]))
            if tested:
                named = Named({TEST: (tested[0], labels(loss, w, tested[0]))}, {})
    shapes = tuple((name, tuple(shape)) for name, shape in meta["shapes"])
    target = Target(w, data, loss, meta["n"], tuple(shape for _, shape in shapes))
    if posterior.restrict is None:
        return target, named
    return restricted(target, shapes, posterior.restrict, f"target {spec.id}", parts), named
