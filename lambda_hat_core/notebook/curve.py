"""`LlcCurve`: the estimates at the checkpoints of a training run, and the curve through them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lambda_hat_core.analysis.curve import Curve, CurvePoint, llc_curve
from lambda_hat_core.notebook.llc import Llc

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Checkpoint(NamedTuple):
    """One checkpoint.

    Attributes:
        step: of training.
        found: the estimate, with its draws.
        loss: the mean loss at the checkpoint.
        metrics: other quantities by name.
    """

    step: int | float
    found: Llc
    loss: float
    metrics: dict[str, float]


@dataclass(frozen=True, repr=False, eq=False)
class LlcCurve:
    """The LLC along training.

    Attributes:
        checkpoints: the estimates, by step.
        hold: the step whose setting all of them have, or `each`.
    """

    checkpoints: tuple[Checkpoint, ...]
    hold: Any

    @cached_property
    def curve(self) -> Curve:
        """The smooth curve with its band, and the stage boundaries that the errors allow."""
        return llc_curve(
            [
                CurvePoint(at.step, at.found.llc, at.found.se, at.found.verdict)
                for at in self.checkpoints
            ]
        )

    def __repr__(self) -> str:
        """Return the number of checkpoints, their verdicts and the boundaries in one line."""
        verdicts = [at.found.verdict for at in self.checkpoints]
        count = ", ".join(
            f"{verdicts.count(name)} {name}" for name in dict.fromkeys(sorted(verdicts))
        )
        first, last = self.checkpoints[0].step, self.checkpoints[-1].step
        words = f"{len(verdicts)} checkpoints from step {first:g} to {last:g}"
        return f"LlcCurve({words}: {count}; {self.curve.note})"

    def _repr_png_(self) -> bytes:
        """Return the figure that a notebook shows."""
        from lambda_hat_core.analysis.figures.style import png

        return png(self.plot())

    def plot(self, *, axis: Literal["auto", "log", "linear"] = "auto") -> "Figure":
        """Return the figure of the curve over the loss and the metrics.

        Args:
            axis: whether steps are spaced by their logarithms; auto if most of them are early.
        """
        from lambda_hat_core.analysis.figures.curve import CurveSeries, along_figure

        steps = [at.step for at in self.checkpoints]
        names = dict.fromkeys(name for at in self.checkpoints for name in at.metrics)
        beside = {"loss": (steps, [at.loss for at in self.checkpoints])}
        beside |= {name: (steps, [at.metrics[name] for at in self.checkpoints]) for name in names}
        one = self.checkpoints[0].found
        title = f"LLC along training (d = {one.d}, n = {one.n}, nβ {one.nbeta:.4g}, gamma "
        series = CurveSeries(str(one.settings["sampler"]), self.curve, beside)
        return along_figure([series], f"{title}{one.gamma:g})", axis=axis)

    def to_dataframe(self) -> "DataFrame":
        """Return one row per checkpoint: step, llc, se, lo, hi, verdict, reasons, and more."""
        import pandas as pd

        return pd.DataFrame([_row(at) for at in self.checkpoints])


def _row(at: Checkpoint) -> dict[str, Any]:
    found = at.found
    lo, hi = found.interval or (None, None)
    return {
        "step": at.step,
        "llc": found.llc,
        "se": found.se,
        "lo": lo,
        "hi": hi,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "advice": list(found.advice),
        "at_minimum": found.at_minimum,
        "descent": found.descent,
        "loss": at.loss,
        "fge": found.work_fge,
        "seconds": found.seconds,
        **at.metrics,
    }
