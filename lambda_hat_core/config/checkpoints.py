"""At which steps of a training its checkpoints are, each of which is a target of its own."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.effect import When

_WAYS = ("count", "every", "at")


class Checkpoints(Frozen):
    """Steps of a training: so many of them, one in so many, or a list. Step 0 is the start."""

    count: Annotated[PositiveInt | None, When(every=None, at=None)] = Field(
        default=None, ge=2, description="so many checkpoints, from step 0 to the last step"
    )
    spacing: Annotated[Literal["log", "linear"], When(every=None, at=None)] = Field(
        default="log",
        description="of `count` checkpoints: log, steps that grow by a constant factor, or linear",
    )
    every: Annotated[PositiveInt | None, When(at=None)] = Field(
        default=None, description="a checkpoint at step 0, at every so many steps, and at the end"
    )
    at: tuple[NonNegativeInt, ...] | None = Field(
        default=None, min_length=1, description="the steps themselves"
    )

    @model_validator(mode="after")
    def _one_way(self):
        if all(getattr(self, name) is None for name in _WAYS):
            raise ValueError(
                "checkpoints names no steps: write one of {count: 40}, {every: 250} and "
                "{at: [0, 100, 1000]}"
            )
        return self

    def steps(self, total: int) -> tuple[int, ...]:
        """Return the steps in ascending order.

        Args:
            total: the last step of the training.

        Raises:
            ValueError: if there are not so many steps; the message is the rule that is broken.
        """
        if self.at is not None:
            beyond = max(self.at)
            if beyond > total:
                raise ValueError(f"the training has {total} steps, so none is {beyond}")
            return tuple(sorted({*self.at}))
        if self.every is not None:
            return tuple(sorted({*range(0, total + 1, self.every), total}))
        assert self.count is not None
        if self.count > total + 1:
            raise ValueError(f"a training of {total} steps has {total + 1} checkpoints at most")
        if self.spacing == "linear":
            gaps = self.count - 1
            return tuple(round(total * i / gaps) for i in range(self.count))
        return _log_spaced(self.count, total)


def _log_spaced(count: int, total: int) -> tuple[int, ...]:
    """Return 0 and steps that grow by a constant factor; where that is below 1, by one step."""
    found = [0, 1]
    while len(found) < count:
        left = count - len(found)
        factor = (total / found[-1]) ** (1 / left)
        found.append(max(found[-1] + 1, round(found[-1] * factor)))
    return (*found[: count - 1], total)
