"""A calibration sheet in one call: the same estimate at every step size, nbeta and gamma."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lambda_hat_core.analysis.sheet import AXES, Cell, note
from lambda_hat_core.config.errors import Place, suggest
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.known import SAMPLERS, SamplerSpec
from lambda_hat_core.notebook.estimate import estimate_llc
from lambda_hat_core.notebook.hinted import hinted_with
from lambda_hat_core.notebook.llc import Llc
from lambda_hat_core.work import compilation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_CALL = Place("llc_grid")
At = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, repr=False, eq=False)
class LlcGrid:
    """The LLC of one sampler over a grid of settings.

    `grid[step_size, nbeta, gamma]` is the `Llc` of a cell with its chains; an axis that was not
    asked for is None.

    Attributes:
        found: the estimates, by step size, nbeta and gamma.
    """

    found: dict[At, Llc]

    def __getitem__(self, at: At) -> Llc:
        """Return the estimate of a cell."""
        return self.found[at]

    def __iter__(self) -> Iterator[At]:
        """Iterate over the settings of the cells."""
        return iter(self.found)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.found)

    @property
    def cells(self) -> list[Cell]:
        """The cells as the figure draws them."""
        return [
            Cell(step, one.nbeta, one.gamma, one.llc, one.se, one.v_m, one.verdict)
            for (step, _, _), one in self.found.items()
        ]

    def __repr__(self) -> str:
        """Return the number of cells and what V_M says of the step sizes, in one line."""
        return f"LlcGrid({len(self)} cells; {note(self.cells)})"

    def _repr_png_(self) -> bytes:
        """Return the figure that a notebook shows."""
        from lambda_hat_core.analysis.figures.style import png

        return png(self.plot())

    def plot(self) -> "Figure":
        """Return heat maps of the LLC and of V_M. `grid[at].plot()` draws the chains of a cell."""
        from lambda_hat_core.analysis.figures.sheet import sheet_figure

        one = next(iter(self.found.values()))
        title = f"{one.settings['sampler']}, d = {one.d}, n = {one.n}"
        return sheet_figure(self.cells, title, note(self.cells))

    def to_dataframe(self) -> "DataFrame":
        """Return one row per cell: step_size, nbeta, gamma, llc, se, v_m, r_hat, verdict, ..."""
        import pandas as pd

        return pd.DataFrame([_row(at, one) for at, one in self.found.items()])


def _row(at: At, one: Llc) -> dict[str, Any]:
    return {
        "step_size": at[0],
        "nbeta": one.nbeta,
        "gamma": one.gamma,
        "llc": one.llc,
        "se": one.se,
        "v_m": one.v_m,
        "r_hat": one.r_hat,
        "verdict": one.verdict,
        "reasons": list(one.reasons),
        "fge": one.work_fge,
        "seconds": one.seconds,
    }


@hinted_with(estimate_llc)
def llc_grid(
    loss: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    *,
    sampler: str | SamplerSpec = "sgld",
    step_size: float | Sequence[float] | None = None,
    nbeta: float | Sequence[float] | None = None,
    gamma: float | Sequence[float] | None = None,
    posterior: PosteriorSpec | Mapping[str, Any] | None = None,
    **options: Any,
) -> LlcGrid:
    """Estimate the LLC at every combination of step sizes, nbetas and gammas.

    Published settings of stochastic samplers are found by such a sweep: a step size is used where
    the LLC is the same as at the smaller ones and V_M is 1.

    Args:
        loss: as in `estimate_llc`.
        params: as in `estimate_llc`.
        data: as in `estimate_llc`.
        sampler: a name, or an object with other settings, such as `Sgld(precond="none")`.
        step_size: step sizes, or one; by default the sampler finds its own.
        nbeta: values of nbeta, or one; by default that of the posterior.
        gamma: values of gamma, or one; by default that of the posterior.
        posterior: as in `estimate_llc`, without the axes of the grid.
        **options: what else `estimate_llc` takes.

    Returns:
        The grid of estimates.

    Raises:
        ValueError: if an axis is empty, or the sampler has no step size; and as `estimate_llc`.
    """
    axes = dict(zip(AXES, map(_values, (step_size, nbeta, gamma)), strict=True))
    for name, values in axes.items():
        if values is not None and len({*values}) < max(1, len(values)):
            rule = "must have one or more values, each of them once"
            raise _CALL.key(name).error(rule, "remove the others", values)
    if all(values is None for values in axes.values()):
        raise _CALL.error("there is no grid", "give step_size, nbeta or gamma a list of values")
    base = _sampler(sampler)
    if axes["step_size"] is not None and "step_size" not in type(base).model_fields:
        rule = f"{base.kind} has no step_size that can be set"
        way_out = "remove it, or choose e.g. sgld"
        raise _CALL.key("step_size").error(rule, way_out, axes["step_size"])
    found: dict[At, Llc] = {}
    steps, nbetas, gammas = ([None] if values is None else values for values in axes.values())
    with compilation.kept():
        for at in itertools.product(steps, nbetas, gammas):
            found[at] = estimate_llc(
                loss,
                params,
                data,
                sampler=_stepping(base, at[0]),
                posterior=_posterior(posterior, dict(zip(AXES[1:], at[1:], strict=True))),
                **options,
            )
    return LlcGrid(found)


def _values(given: Any) -> list[Any] | None:
    """Return the values of an axis as a list, also a single one."""
    found = given.tolist() if hasattr(given, "tolist") else given
    if found is None:
        return None
    several = isinstance(found, Iterable) and not isinstance(found, str)
    return [*found] if several else [found]


def _sampler(sampler: str | SamplerSpec) -> SamplerSpec:
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        way_out = suggest(sampler, SAMPLERS)
        raise _CALL.key("sampler").error("no such sampler", way_out, sampler)
    made: Any = SAMPLERS[sampler]()
    return made


def _stepping(base: SamplerSpec, step: float | None) -> SamplerSpec:
    """Return the sampler at a step size; what the default step size needs has no effect there."""
    if step is None:
        return base
    written = {name: getattr(base, name) for name in base.model_fields_set - {"kind"}}
    return type(base)(**{**written, "step_size": step})


def _posterior(
    posterior: PosteriorSpec | Mapping[str, Any] | None, values: Mapping[str, float | None]
) -> dict[str, Any]:
    given = posterior
    if isinstance(given, PosteriorSpec):
        given = {name: getattr(given, name) for name in given.model_fields_set}
    own = {name: value for name, value in values.items() if value is not None}
    twice = own.keys() & (given or {}).keys()
    for name in sorted(twice):
        raise _CALL.key(name).error("posterior has it too", "remove one of them", own[name])
    return {**(given or {}), **own}
