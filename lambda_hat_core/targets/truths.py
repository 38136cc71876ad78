"""The truths that label synthetic data: the teacher of an MLP, or generating weights."""

from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from lambda_hat_core.config import model
from lambda_hat_core.config.data import Teacher
from lambda_hat_core.targets.networks import (
    DeepLinearNetwork,
    DiagonalLinearNetwork,
    MlpNetwork,
    Network,
    NetworkSpec,
    QuadraticActivationNetwork,
    make_teacher,
)
from lambda_hat_core.types import Weights


class Truth(NamedTuple):
    """The network that makes the labels, its weights, and whether the student contains it."""

    network: Network
    weights: Weights
    in_student: bool


def make_truth(
    key: PRNGKeyArray, spec: NetworkSpec, network: Network, teacher: Teacher | None
) -> Truth:
    """Draw the truth of a network target.

    For networks other than MLPs the weights are the deepest singularity of the fibre of the true
    function: balanced layers of the true rank, zero columns of U, and zeros in all factors of a
    zero coordinate.
    """
    match spec, network:
        case model.Mlp(), MlpNetwork():
            labelling = make_teacher(spec, teacher, network)
            dropped = teacher is not None and teacher.dropout_rate > 0
            same = labelling == network and not dropped
            return Truth(labelling, labelling.init(key), same)
        case model.DeepLinear(), DeepLinearNetwork():
            weights = _deep_linear(key, network, spec.rank)
        case model.QuadraticActivation(), QuadraticActivationNetwork():
            weights = _quadratic_activation(key, network, spec.rank)
        case model.DiagonalLinear(), DiagonalLinearNetwork():
            weights = _diagonal_linear(key, network, spec.n_zero)
        case _:
            raise TypeError(f"{spec.kind} has no truth for {type(network).__name__}")
    return Truth(network, weights, True)


def _deep_linear(key: PRNGKeyArray, network: DeepLinearNetwork, rank: int) -> Weights:
    """Draw normal factors whose product has entries of variance 1 / inputs."""
    left_key, right_key = jr.split(key)
    left = jr.normal(left_key, (network.in_dim, rank))
    right = jr.normal(right_key, (rank, network.out_dim))
    return network.factor(left @ right / jnp.sqrt(network.in_dim * max(rank, 1)), rank)


def _quadratic_activation(
    key: PRNGKeyArray, network: QuadraticActivationNetwork, rank: int
) -> Weights:
    u = jr.normal(key, (network.in_dim, rank)) / jnp.sqrt(network.in_dim * max(rank, 1))
    return jnp.pad(u, ((0, 0), (0, network.width - rank))).reshape(-1)


def _diagonal_linear(key: PRNGKeyArray, network: DiagonalLinearNetwork, n_zero: int) -> Weights:
    """Draw coordinates in +-[0.5, 1.5], the last `n_zero` being 0, with equal factors."""
    size_key, sign_key = jr.split(key)
    size = jr.uniform(size_key, (network.in_dim,), minval=0.5, maxval=1.5)
    size = jnp.where(jnp.arange(network.in_dim) < network.in_dim - n_zero, size, 0.0)
    factors = jnp.tile(size ** (1 / network.depth), (network.depth, 1))
    return factors.at[0].multiply(jr.rademacher(sign_key, (network.in_dim,))).reshape(-1)
