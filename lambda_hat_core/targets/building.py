"""Build a target: assemble, train, polish and audit it, and attach the known coefficient."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core import precision
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.assemble import assemble
from lambda_hat_core.targets.audit import Audit, audit
from lambda_hat_core.targets.infinity import endless, judged, on_the_floor, refuse_bottomless
from lambda_hat_core.targets.known import known
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.measures import measures, metric_name
from lambda_hat_core.targets.meta import describe, facts
from lambda_hat_core.targets.networks.layout import named_arrays
from lambda_hat_core.targets.polish import Polished, polish
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.train import Trained, train
from lambda_hat_core.types import Batch, Weights

_ESCAPES = 3
"""Most escapes from a saddle along the lowest eigenvector, each followed by another polish."""
_WORTHWHILE = 1e-3
"""Least fall of nbeta L_n along that vector for which another polish is worth its cost."""
_SLICES, _SLICE_POINTS = 3, 201
_SEQUENCES = 2000
"""Most sequences whose outputs are drawn."""


class BuiltTarget(NamedTuple):
    """A target in float64, as numpy arrays on the host.

    Attributes:
        spec: its specification.
        params: w* as named arrays, in the order of the flat vector.
        data: the content of data.npz: leaves of the data as batch0, batch1, ... with leading axis
            n, test0, ..., and the teacher's noiseless labels as clean_train, clean_test.
        meta: the content of meta.json.
        views: arrays for the figures: curve, spectrum, outputs_train, outputs_test.
    """

    spec: TargetSpec
    params: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    meta: dict[str, Any]
    views: dict[str, np.ndarray]

    @property
    def w(self) -> Float[np.ndarray, " d"]:
        """w* as a flat vector."""
        return np.concatenate([array.ravel() for array in self.params.values()])


def build(
    spec: TargetSpec, log: Callable[[str], None], checkpoint: np.ndarray | None = None
) -> BuiltTarget:
    """Build a target.

    Args:
        spec: its specification.
        log: called with one line per stage.
        checkpoint: the flat weights of a checkpoint of one of our trainings.

    Raises:
        ValueError: if the spec cannot be built, or this process does not compute in float64.
        FloatingPointError: if training diverges.
    """
    precision.require("float64")
    began = time.perf_counter()
    problem = assemble(spec)
    _training_is_used(spec, problem)
    if spec.step is not None:
        problem = _at_checkpoint(spec, problem, checkpoint)
    _finite_data(spec, problem.data)
    constants = PosteriorSpec()
    nbeta, gamma = constants.resolved_nbeta(problem.n), constants.gamma
    log(f"{describe(spec, problem)}: d = {problem.start.size}, n = {problem.n}")
    trained = Trained(problem.start, np.zeros((0, 3)), 0.0)
    if problem.trains and spec.training.start == "random":
        trained = train(stream(spec.seed, "training"), problem, spec.training)
        log(f"trained {spec.training.steps} steps of {spec.training.optimizer}")
    polished, found = _settle(spec, problem, trained.w, nbeta, gamma, log)
    refuse_bottomless(problem, found.loss0)
    answer = known(spec, problem, polished.w, found)
    failed = "audit failed" if spec.step is None else "a checkpoint that is no minimum"
    result = f"{failed}: {'; '.join(found.reasons)}" if found.reasons else "audit passed"
    log(f"{result}; known llc: {answer.reason}")
    views = {"curve": trained.curve, "spectrum": found.spectrum}
    if spec.step is None:
        views |= _outputs(problem, polished.w)
    meta = {
        **facts(spec, problem, polished.w, found, answer),
        **_measured(spec, problem, polished.w),
        "train": {
            "steps": spec.training.steps if trained.work else 0,
            "polish_iterations": polished.iterations,
            "polish_stopped": polished.stopped,
            "seconds": time.perf_counter() - began,
            "work_fge": trained.work + polished.work + found.work,
        },
    }
    params = named_arrays(problem.shapes, np.asarray(polished.w))
    return BuiltTarget(spec, params, _arrays(problem), meta, views)


def _at_checkpoint(spec: TargetSpec, problem: Problem, w: np.ndarray | None) -> Problem:
    """Return the problem whose w* is a checkpoint.

    What the author states of the coefficient holds where a training of ours ends, not on its way.
    """
    if w is not None:
        return problem._replace(start=jnp.asarray(w), trains=False, claim=None)
    if problem.trains:
        raise ValueError(
            f"{problem.maker} returns train=True for the checkpoint of step {spec.step}, which is "
            "taken as it is: return train=False"
        )
    return problem


def _measured(spec: TargetSpec, problem: Problem, w: Weights) -> dict[str, Any]:
    """Return the test loss and, of a checkpoint, its step, its training and its metric."""
    seen = measures(problem, w)
    if spec.trajectory is None:
        return {"test_loss": seen.test_loss}
    return {
        "step": spec.step,
        "trajectory_id": spec.trajectory.id,
        "train_loss": seen.train_loss,
        "test_loss": seen.test_loss,
        "metric": seen.metric,
        "metric_name": metric_name(problem),
    }


def _training_is_used(spec: TargetSpec, problem: Problem) -> None:
    """Refuse settings of a training that a factory does not ask for."""
    if problem.trains or not isinstance(spec.model, Custom):
        return
    for key, default in Training():
        value = getattr(spec.training, key)
        if key != "loss" and value != default:
            raise ValueError(
                f"training.{key} is {value}, but {problem.maker} returns train=False, so that "
                "nothing is trained: remove it, or return train=True"
            )


def _finite_data(spec: TargetSpec, data: Batch) -> None:
    for i, array in enumerate(jax.tree.leaves(data)):
        bad = int(np.sum(~np.isfinite(np.asarray(array))))
        if bad:
            raise ValueError(
                f"in data array {i} of a {spec.model.kind} target {bad} of {array.size} values are "
                "NaN or infinite; every number must be finite: correct the data, or scale them "
                "down"
            )


def _settle(
    spec: TargetSpec,
    problem: Problem,
    w: Weights,
    nbeta: float,
    gamma: float,
    log: Callable[[str], None],
) -> tuple[Polished, Audit]:
    """Polish and audit; if the audit finds negative curvature, follow it and polish again.

    If the descent has no minimum to end at, the point is the one that training reached.
    """
    key, audit_key = stream(spec.seed, "polish"), stream(spec.seed, "audit")

    def audited(w: Weights) -> Audit:
        kinks = spec.step is None
        return audit(audit_key, problem, w, nbeta=nbeta, gamma=gamma, kinks=kinks)

    polished = Polished(w, 0, 0.0, "training.polish is none" if problem.trains else "w* is given")
    if spec.step is not None:
        return polished, audited(w)
    if not problem.trains or spec.training.polish == "none":
        return polished, judged(problem, w, audited(w), nbeta, gamma)
    trained, escapes, work, iterations = w, 0, 0.0, 0
    while True:
        at = jax.random.fold_in(key, escapes)
        polished = polish(at, problem, w, spec.training, nbeta, log)
        found = audited(polished.w)
        work += polished.work + found.work
        iterations += polished.iterations
        polished = polished._replace(iterations=iterations, work=work - found.work)
        why = endless(problem, polished.w, nbeta, audited=not found.reasons)
        if why is not None:
            found = audited(trained)
            where = f"w* is where training ended, |w| = {float(jnp.linalg.norm(trained)):.3g}"
            found = found._replace(reasons=(f"{why}; {where}", *found.reasons))
            return polished._replace(w=trained, work=work), found
        if not found.reasons or escapes == _ESCAPES:
            return polished, on_the_floor(problem, polished.w, found, nbeta, gamma)
        w, lower = _along(problem.loss, polished.w, problem.data, found.lowest_vector)
        if nbeta * (found.loss0 - float(lower)) < _WORTHWHILE:
            return polished, found
        log(f"escaping along eigenvalue {found.spectrum[0]:.3g}")
        escapes += 1


@compiled
def _along(loss: Loss, w: Weights, data: Batch, vector: Weights) -> tuple[Weights, Array]:
    """Return the lowest point on a grid of steps along +-vector, and its loss."""
    steps = 2.0 ** -jnp.arange(14.0)
    points = w + jnp.concatenate([steps, -steps])[:, None] * vector
    losses = jax.lax.map(lambda u: loss.mean(u, data), points)
    best = jnp.nanargmin(losses)
    return points[best], losses[best]


def _outputs(problem: Problem, w: Weights) -> dict[str, np.ndarray]:
    if problem.data is None:
        return {"slices": np.asarray(_slices(problem.loss, w))}
    if not isinstance(problem.loss, Supervised):
        return {}
    batches = {"train": problem.data, "test": problem.test}
    return {
        f"outputs_{name}": np.asarray(_apply(problem.loss, w, _seen(*batch)))
        for name, batch in batches.items()
        if batch is not None
    }


def _seen(x: Array, y: Array) -> Array:
    """Return the inputs whose outputs are drawn: of sequences, some rows are enough."""
    tokens = jnp.issubdtype(x.dtype, jnp.integer) and y.ndim > 1
    return x[:_SEQUENCES] if x.ndim > 2 or tokens else x


@compiled
def _apply(loss: Supervised, w: Weights, x: Array) -> Array:
    return loss.network.apply(w, x)


@compiled
def _slices(loss: Loss, w: Weights) -> Float[Array, "slice point"]:
    """Return the loss along the diagonal and the first coordinates, within one unit of w*."""
    steps = jnp.linspace(-1.0, 1.0, _SLICE_POINTS)
    diagonal = jnp.full((1, w.size), w.size**-0.5)
    axes = jnp.concatenate([diagonal, jnp.eye(min(_SLICES, w.size), w.size)])
    return jax.vmap(lambda v: jax.lax.map(lambda t: loss.mean(w + t * v, None), steps))(axes)


def _arrays(problem: Problem) -> dict[str, np.ndarray]:
    arrays = {f"batch{i}": array for i, array in enumerate(jax.tree.leaves(problem.data))}
    arrays |= {f"test{i}": array for i, array in enumerate(jax.tree.leaves(problem.test))}
    if problem.clean is not None:
        arrays |= {"clean_train": problem.clean[0], "clean_test": problem.clean[1]}
    return {name: np.asarray(array) for name, array in arrays.items()}
