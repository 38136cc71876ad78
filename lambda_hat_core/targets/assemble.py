"""Turn the spec of a target into the problem that is minimised."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from lambda_hat_core.config import model
from lambda_hat_core.config.compatible import check_loss, default_loss
from lambda_hat_core.config.data import DIMS, Diabetes, Digits, Synthetic, Teacher
from lambda_hat_core.config.posterior import SELF_LABELLED
from lambda_hat_core.config.spec import Origin, TargetSpec
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.config.training import LossName
from lambda_hat_core.posterior import Loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.streams import stream
from lambda_hat_core.targets import custom
from lambda_hat_core.targets.bundled import diabetes, digits
from lambda_hat_core.targets.choice import supervised
from lambda_hat_core.targets.networks import (
    Network,
    NetworkSpec,
    TaskSpec,
    make_network,
    make_task_network,
)
from lambda_hat_core.targets.own_labels import SelfLabelled
from lambda_hat_core.targets.potentials import NormalCrossingPotential, QuadraticPotential
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.synthetic import dropout, inputs, noise
from lambda_hat_core.targets.tasks import examples
from lambda_hat_core.targets.truths import make_truth
from lambda_hat_core.types import Weights


def assemble(spec: Origin) -> Problem:
    """Return the problem of a target or of a training."""
    match spec.model:
        case model.Quadratic() | model.NormalCrossing():
            return _potential(spec, spec.model)
        case model.Custom():
            return custom.prepare(
                spec.model, spec.seed, step=spec.step if isinstance(spec, TargetSpec) else None
            )
        case _:
            return _network(spec, spec.model)


def network_of(spec: Origin, kind: NetworkSpec) -> Network:
    """Return the network of a target, with unset dimensions taken from the data."""
    if isinstance(kind, TaskSpec):
        return make_task_network(kind, spec.data)
    return make_network(kind, *DIMS[spec.data.kind])


def loss_of(
    spec: Origin,
    name: LossName | Literal["own", "self_labelled"] | None,
    sigma: float | None,
) -> Loss:
    """Return the loss `name` of a target that is a potential or a network.

    Raises:
        ValueError: if the target has no such loss, or the loss no noise scale.
    """
    kind = spec.model
    check_loss("posterior.loss", name, kind, spec.data)
    match kind:
        case model.Custom():
            raise TypeError("a custom target's loss comes from its factory")
        case model.Quadratic() | model.NormalCrossing():
            return _potential_loss(kind, spec.seed)
        case _:
            network, chosen = network_of(spec, kind), name or default_loss(kind, spec.data)
            if chosen == SELF_LABELLED:
                base = default_loss(kind, spec.data)
                assert base in ("mse", "cross_entropy")
                return SelfLabelled(network, "gaussian" if sigma else base, sigma or 1.0)
            assert chosen != "own"
            return supervised(network, spec.data, chosen, sigma)


def _potential_loss(kind: model.Quadratic | model.NormalCrossing, seed: int) -> Loss:
    match kind:
        case model.NormalCrossing():
            return NormalCrossingPotential(kind.powers)
        case model.Quadratic():
            seed_of_rotation = seed if kind.rotate else None
            if kind.spectrum is not None:
                given = kind.spectrum
                return QuadraticPotential(len(given), spectrum=given, seed=seed_of_rotation)
            return QuadraticPotential(
                kind.d, kind.condition, kind.h_max, kind.rank, seed=seed_of_rotation
            )


def _potential(spec: Origin, kind: model.Quadratic | model.NormalCrossing) -> Problem:
    loss = loss_of(spec, spec.training.loss, None)
    given = kind.point if isinstance(kind, model.NormalCrossing) else None
    size = loss.d if isinstance(loss, QuadraticPotential) else len(getattr(loss, "powers", ()))
    point = np.zeros(size) if given is None else np.asarray(given, np.float64)
    start = jnp.asarray(point)
    return Problem(
        loss, None, spec.data.n_data, start, (("w", (start.size,)),), trains=False, truth=start
    )


def _network(spec: Origin, kind: NetworkSpec) -> Problem:
    network = network_of(spec, kind)
    loss = loss_of(spec, spec.training.loss, None)
    start = _initial(stream(spec.seed, "initial weights"), network) * spec.training.init_scale
    problem = Problem(loss, None, spec.data.n_data, start, network.shapes)
    match spec.data:
        case Digits():
            train, test = digits(spec.data, spec.seed)
            problem = problem._replace(data=train, test=test)
        case Diabetes():
            train, test = diabetes(spec.data, spec.seed)
            problem = problem._replace(data=train, test=test)
        case Synthetic():
            problem = _labelled(problem, spec, spec.data, network, kind)
        case Modular() | SparseFeatures() | Induction() | IclRegression():
            train, test = examples(spec.data, spec.seed)
            problem = problem._replace(data=train, test=test)
    if spec.training.start == "truth":
        assert problem.truth is not None
        problem = problem._replace(start=problem.truth)
    return problem


@compiled
def _initial(key: PRNGKeyArray, network: Network) -> Weights:
    return network.init(key)


def _labelled(
    problem: Problem, spec: Origin, data: Synthetic, network: Network, kind: NetworkSpec
) -> Problem:
    names = ("input law", "inputs", "teacher", "dropout", "noise")
    keys = {name: stream(spec.seed, name) for name in names}
    drawn, truth = _synthesise(keys, data, network, kind, spec.teacher)
    halves = [np.split(np.asarray(array), [data.n_data]) for array in drawn]
    train, test = jax.device_put([*zip(*halves, strict=True)])
    clean = (train[2], test[2])
    return problem._replace(data=train[:2], test=test[:2], clean=clean, truth=truth)


@compiled
def _synthesise(
    keys: dict[str, PRNGKeyArray],
    data: Synthetic,
    network: Network,
    kind: NetworkSpec,
    teacher: Teacher | None,
) -> tuple[tuple[Array, Array, Array], Weights | None]:
    """Return inputs, labels and noiseless labels (training, then test rows), and the truth."""
    truth = make_truth(keys["teacher"], kind, network, teacher)
    rate = teacher.dropout_rate if teacher is not None else 0.0
    x = inputs(data, keys["input law"], keys["inputs"], network.in_dim)
    exact = truth.network.apply(truth.weights, x)
    drawn = noise(data, keys["noise"], x, exact.shape[1])
    y = dropout(keys["dropout"], rate, exact) + drawn
    return (x, y, exact), truth.weights if truth.in_student else None
