"""Parameters whose gradient is zero whatever their value: without an effect, or hidden from JAX.

A sampler moves a parameter without a gradient as if the loss were flat in it. Where the loss does
depend on it, through stop_gradient or whole numbers, that is another posterior, and the estimate
means nothing. Where the loss does not, it does no harm, but the author may want to know.
"""

import math
from typing import Literal, NamedTuple

import numpy as np

from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.networks.layout import dotted
from lambda_hat_core.targets.probe import Probe, slope
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Weights, constant

_CHANGED = 1e-10
"""Relative change of the loss that is more than rounding."""


class Idle(NamedTuple):
    """Parameters without a gradient.

    Attributes:
        hidden: names of the arrays that the loss depends on, but has no gradient with respect to.
        without_effect: names of the arrays with entries that the loss does not depend on, and how
            many these are.
    """

    hidden: tuple[str, ...]
    without_effect: dict[str, int]

    def notes(self, sample_all: bool) -> tuple[str, ...]:
        """Return sentences that name the parameters, and say what is done with them."""
        notes = []
        if self.hidden:
            named = ", ".join(map(dotted, self.hidden))
            done = "sampled all the same" if sample_all else "not sampled (sample_all=True does)"
            notes.append(
                f"{named}: {done}, since the loss depends on it without a gradient, as through "
                "stop_gradient or whole numbers"
            )
        if self.without_effect:
            named = ", ".join(
                f"{dotted(name)} ({count})" for name, count in self.without_effect.items()
            )
            count = sum(self.without_effect.values())
            notes.append(f"{count} parameters have no effect on the loss: {named}")
        return tuple(notes)


def idle(problem: Problem, seen: Probe) -> Idle:
    """Return the parameters whose gradient is exactly zero at every point of the probe.

    Raises:
        ValueError: if only some entries of an array are hidden from the gradient, or the loss
            depends on no parameter.
    """
    zero = (seen.slopes == 0).all(axis=0)
    if zero.any() and 0 < seen.size < problem.n:
        for point in seen.points:
            zero &= np.asarray(slope(problem.loss, point, problem.data)[1]) == 0
    if zero.any():
        zero &= np.asarray(slope(problem.loss, _small(problem, zero), seen.rows)[1]) == 0
    hidden: list[str] = []
    ignored: dict[str, int] = {}
    for name, own in _places(problem).items():
        part = zero[own]
        count = int(part.sum())
        kind = _kind(problem, seen, own & zero) if count else "flat"
        if kind == "without effect":
            ignored[name] = count
        elif kind == "hidden" and count == part.size:
            hidden.append(name)
        elif kind == "hidden":
            raise refusal(
                problem.maker,
                f"has a loss that depends on {count} of {part.size} entries of {dotted(name)} "
                "without a gradient",
                "a sampler would move them blindly: put them into an array of their own, or into "
                "data",
            )
    if sum(ignored.values()) == zero.size:
        raise refusal(
            problem.maker,
            "has a loss that depends on none of its params",
            "it is the same wherever they are moved, so that there is nothing to estimate: use the "
            "params in loss(params, batch)",
        )
    return Idle(tuple(hidden), ignored)


def _small(problem: Problem, zero: np.ndarray) -> Weights:
    """Return the params with small numbers for those without a gradient.

    A unit that saturates for every row has none, in any of its weights, however far these move.
    """
    at = np.asarray(problem.start)
    return constant(np.where(zero, 0.1 * np.cos(np.arange(at.size)), at), problem.start)


def _places(problem: Problem) -> dict[str, np.ndarray]:
    """Return for each array which entries of the flat vector are its own."""
    counts = [math.prod(shape) for _, shape in problem.shapes]
    owner = np.repeat(np.arange(len(counts)), counts)
    return {name: owner == i for i, (name, _) in enumerate(problem.shapes)}


def _kind(
    problem: Problem, seen: Probe, own: np.ndarray
) -> Literal["without effect", "hidden", "flat"]:
    """Return what entries without a gradient do, by moving them far.

    If they have a gradient where they were moved to, they only were in a flat region.
    """
    direction = np.where(own, np.random.default_rng(1).normal(size=own.size), 0.0)
    for w in seen.points[::2]:
        length = max(1.0, 2 * float(np.abs(np.asarray(w)).max()))
        before = float(slope(problem.loss, w, problem.data)[0])
        for sign in (length, -length):
            moved = w + constant(sign * direction, w)
            after, gradient = slope(problem.loss, moved, problem.data)
            if np.asarray(gradient)[own].any():
                return "flat"
            if abs(float(after) - before) > _CHANGED * abs(before):
                return "hidden"
    return "without effect"
