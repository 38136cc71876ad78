"""One setting for the runs around several points: what a sampler measured at the first is held.

Held are the metric, step sizes, trajectory lengths and batches of the kernel, as `build` found
them. What belongs to the point is made anew: w*, its data, the gradient of a control variate there,
and L_n(w*). Chains begin where those of the first run began relative to its w*.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax

from lambda_hat_core.posterior import Posterior, loss_at_minimum
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.drive import Checkpoint
from lambda_hat_core.samplers.gradients import GradientEstimate, gradient_at_minimum
from lambda_hat_core.samplers.kernel import Kernel, Tuned
from lambda_hat_core.samplers.pilot import Pilot
from lambda_hat_core.types import Weights


class Held(Checkpoint):
    """Keeps the set-up of the first run that it sees, and hands it to the runs after it."""

    def __init__(self):
        self._kept: dict[str, tuple[Any, Posterior]] = {}

    def remember(self, name: str, known: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return the first run's result for this run's posterior, which is in `known`."""
        posterior = known["posterior"]
        if name not in self._kept:
            self._kept[name] = (make(), posterior)
            return self._kept[name][0]
        kept, there = self._kept[name]
        if isinstance(kept, Pilot):
            return kept._replace(positions=_shifted(kept.positions, there, posterior), work=0.0)
        if name == "pilot":
            found = kept.pilot._replace(positions=_shifted(kept.pilot.positions, there, posterior))
            work = dict.fromkeys(kept.work, 0.0) | {"loss0": kept.work["loss0"]}
            loss0 = loss_at_minimum(posterior)
            return kept._replace(pilot=found, loss0=loss0, work=work, seconds=0.0)
        tuned, _ = kept
        return moved(tuned, there, posterior), 0.0


def moved(tuned: Tuned, there: Posterior, posterior: Posterior) -> Tuned:
    """Return a kernel that was tuned for the posterior `there`, for another one of its shape.

    The work is that of the move: one gradient if a control variate needs it.
    """
    gradient = None
    if any(_varies(node) for node in jax.tree.leaves(tuned.kernel, is_leaf=_varies)):
        gradient = gradient_at_minimum(posterior)
    kernel = _at(tuned.kernel, posterior, gradient)
    positions = _shifted(tuned.positions, there, posterior)
    work = 0.0 if gradient is None else 1.0
    return tuned._replace(kernel=kernel, positions=positions, work=work)


def _varies(node: Any) -> bool:
    return isinstance(node, GradientEstimate) and node.varies


def _of_a_point(node: Any) -> bool:
    return isinstance(node, Posterior | Coordinates | GradientEstimate)


def _at(kernel: Kernel, posterior: Posterior, gradient: Weights | None) -> Kernel:
    def renewed(node: Any) -> Any:
        match node:
            case Posterior():
                return posterior
            case Coordinates():
                return replace(node, origin=posterior.w0)
            case GradientEstimate():
                tilt = gradient if node.varies and gradient is not None else node.tilt
                return replace(node, posterior=posterior, tilt=tilt)
            case _:
                return node

    return jax.tree.map(renewed, kernel, is_leaf=_of_a_point)


@compiled
def _shifted(positions: Any, there: Posterior, posterior: Posterior) -> Any:
    return positions + (posterior.w0 - there.w0)
