"""A calibration sheet: the LLC and V_M of one sampler over step size, nbeta and gamma.

Where the draws are those of the posterior, V_M is 1 and the LLC does not depend on the step size.
Both are read off the sheet before a step size is used for anything.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.words import short

V_M_NEAR = 0.05
"""Largest difference of V_M from 1 in the sentence about a sheet."""

AXES = ("step_size", "nbeta", "gamma")
NAMES = {"step_size": "step size", "nbeta": "nβ", "gamma": "gamma"}


class Cell(NamedTuple):
    """One run of a sheet.

    Attributes:
        step_size: as it was set; None if the sampler has none, or adapts it.
        nbeta: n beta.
        gamma: localiser.
        llc: the estimate, None if there is none.
        se: its standard error.
        v_m: the virial certificate, None if it was not computed.
        verdict: of the run.
        run: its id, or empty.
    """

    step_size: float | None
    nbeta: float
    gamma: float
    llc: float | None
    se: float | None
    v_m: float | None
    verdict: Verdict
    run: str = ""


class Layout(NamedTuple):
    """How the cells of a sheet are laid out.

    Attributes:
        across: the axis of the columns.
        down: the axis of the rows; None if only one axis has several values.
        beside: the axis along which there is a map for each value; None if there is one map.
        values: the values on each axis, rising.
    """

    across: str
    down: str | None
    beside: str | None
    values: dict[str, list[float]]

    def of(self, axis: str | None) -> list[float | None]:
        """Return the values on an axis, or None alone where there is no such axis."""
        return [None] if axis is None else [*self.values[axis]]


def layout(cells: Sequence[Cell]) -> Layout:
    """Return the layout of a sheet: the axes with several values, in the order of `AXES`."""
    values = {
        axis: sorted({v for cell in cells if (v := getattr(cell, axis)) is not None})
        for axis in AXES
    }
    chosen = [axis for axis in AXES if len(values[axis]) > 1] or ["nbeta"]
    across, down, beside = [*chosen, None, None][:3]
    assert across is not None
    return Layout(across, down, beside, values)


def cell_at(
    cells: Iterable[Cell],
    at: Layout,
    across: float | None,
    down: float | None,
    beside: float | None,
) -> Cell | None:
    """Return the cell at a place of the layout, or None if it was not run."""
    wanted = ((at.across, across), (at.down, down), (at.beside, beside))
    for cell in cells:
        if all(axis is None or getattr(cell, axis) == value for axis, value in wanted):
            return cell
    return None


def note(cells: Sequence[Cell]) -> str:
    """Return a sentence about the step sizes at which the draws are the posterior's."""
    steps = layout(cells).values["step_size"]
    if len(steps) < 2:
        return "every cell is one run"
    good = [
        step
        for step in steps
        if all(_is_near(cell.v_m) for cell in cells if cell.step_size == step)
    ]
    words = f"V_M is within {V_M_NEAR:.0%} of 1 at every nβ and gamma"
    if not good:
        return f"there is no step size here at which {words}"
    return f"{words} at step size {', '.join(map(short, good))}"


def _is_near(v_m: float | None) -> bool:
    return v_m is not None and abs(v_m - 1) <= V_M_NEAR
