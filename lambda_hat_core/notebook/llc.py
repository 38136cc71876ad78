"""`Llc`: an estimate with its verdict, its settings and its draws."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from lambda_hat_core.analysis import words
from lambda_hat_core.analysis.measure import Estimate, Verdict
from lambda_hat_core.analysis.observations import Observations
from lambda_hat_core.analysis.settings import settings
from lambda_hat_core.analysis.temperature import FINITE
from lambda_hat_core.analysis.ways_out import as_arguments
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import DataTree

FigureName = Literal["trace", "rank", "energy", "tempering", "llc_convergence_combined", "wnv"]


@dataclass(frozen=True, repr=False, eq=False)
class Llc:
    """A local learning coefficient with its error, and a verdict on both.

    Numbers are None if they are not available: all of them if a number of the run was not finite,
    and R-hat for a single chain or a fitted family.

    Attributes:
        llc: nbeta (E[L_n(w)] - L_n(w*)).
        se: its standard error.
        interval: lower and upper end of the central 90 % interval.
        verdict: ok, suspect or failed.
        reasons: the reasons for a verdict other than ok, one sentence each.
        advice: what to set so that each of the reasons does not occur again, one for each: an
            argument of `estimate_llc`, or a field of the sampler.
        at_minimum: whether neither the audit of w* nor the draws show that it is no minimum.
        descent: nbeta times the loss that a Newton step from w* predicts to lose.
        llc_oracle: the value that a perfect sampler would find at this nbeta and gamma, where it is
            cheap to compute: for one or two parameters, and for a quadratic loss.
        notes: what does not affect the verdict: why w* is no minimum, the value at this finite
            temperature, parameters that are not sampled, and parameters without an effect.
        settings: the settings that the run actually used: sampler, its fields with the step size
            that was found, dtype, seed, nbeta, gamma.
        r_hat: largest R-hat over the loss and |w - w*|^2; 1 if the chains agree.
        ess: smallest effective sample size of the loss, its tails and |w - w*|^2.
        v_m: virial certificate, 1 at equilibrium.
        n: number of examples.
        d: number of parameters.
        nbeta: n beta.
        gamma: strength of the localiser.
        work_fge: full-gradient evaluations, set-up included.
        seconds: wall time of the call.
        trace: the draws: `trace.loss` and `trace.llc` of shape (chain, draw), and more.
        estimate: all numbers of the analysis.
        run: the specification of the run.
    """

    llc: float | None
    se: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    at_minimum: bool
    descent: float | None
    llc_oracle: float | None
    notes: tuple[str, ...]
    settings: dict[str, Any]
    r_hat: float | None
    ess: float | None
    v_m: float | None
    n: int
    d: int
    nbeta: float
    gamma: float
    work_fge: float
    seconds: float
    trace: Trace
    estimate: Estimate
    run: RunSpec

    @property
    def observed(self) -> Observations:
        """What the observables of the run tell: means, covariances, influences.

        Raises:
            ValueError: if the run has none.
        """
        if self.trace.observed is None:
            raise ValueError(
                "this run has no observables"
                + ("; it failed" if self.trace.failure else "; pass observables=['per_example']")
            )
        return Observations(self.trace)

    def __repr__(self) -> str:
        """Return the estimate, its interval, the verdict and the ways out in one line."""
        ways_out = f"; set {'; '.join(dict.fromkeys(self.advice))}" if self.advice else ""
        own = "" if self.llc_oracle is None else f", exact {self.llc_oracle:.4g}"
        return f"Llc({self._words()}{own}{ways_out})"

    def __str__(self) -> str:
        """Return the same line with the reasons for the verdict, and what stands beside it."""
        pairs = zip(self.reasons, self.advice, strict=True)
        lines = [f"{reason}: set {advice}" for reason, advice in pairs]
        beside = [note for note in self.notes if note in self.estimate.notes]
        lines += [note for note in beside if not self.at_minimum or note.startswith(FINITE)]
        return f"llc {self._words()}" + (f": {'; '.join(lines)}" if lines else "")

    def _words(self) -> str:
        if self.llc is None:
            return f"none, {self.verdict}"
        ends = ""
        if self.interval is not None:
            ends = f", 90 % {words.interval(*self.interval, self.se)}"
        return f"{words.plus_minus(self.llc, self.se)}{ends}, {self.verdict}"

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook shows."""
        from lambda_hat_core.notebook.html import page

        return page(self)

    def plot(self, figure: FigureName = "trace") -> "Figure":
        """Return a figure of the run.

        Args:
            figure: `trace` (draws of every chain), `rank` (agreement of the chains), `energy` (for
                samplers that have one), `tempering` (the replicas of `tempered`),
                `llc_convergence_combined` (the running estimate) or `wnv` (the work-normalised
                variance).

        Raises:
            ValueError: if the run has no such figure.
        """
        from lambda_hat_core.analysis.figures.run import run_figures

        title = f"{self.settings['sampler']} (d = {self.d}, n = {self.n}, gamma {self.gamma:g})"
        figures = run_figures(self.trace, self.estimate, title, [])
        if figure not in figures:
            raise ValueError(f"figure is {figure!r}; this run has {', '.join(figures)}")
        return figures[figure]

    def to_datatree(self) -> "DataTree":
        """Return the draws as an ArviZ DataTree, for example for `az.summary`."""
        from lambda_hat_core.analysis.traceio import datatree

        return datatree(self.trace, self.run)

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the draws as plain values, for JSON or a row of a table."""
        left_out = ("trace", "estimate", "run")
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        return {
            name: [*value] if isinstance(value, tuple) else value for name, value in facts.items()
        }


def answer(
    found: Estimate,
    trace: Trace,
    run: RunSpec,
    *,
    seconds: float,
    notes: tuple[str, ...] = (),
    llc_oracle: float | None = None,
) -> Llc:
    """Return the result of `estimate_llc`.

    Args:
        found: the estimate with its verdict.
        trace: its draws.
        run: the specification of the run.
        seconds: wall time of the call.
        notes: what the checks of the loss found.
        llc_oracle: the posterior's own value, if it is known.
    """
    ends = (found.llc_lo, found.llc_hi)
    return Llc(
        llc=found.llc,
        se=found.llc_se,
        interval=None if ends[0] is None or ends[1] is None else (ends[0], ends[1]),
        verdict=found.verdict,
        reasons=tuple(found.reasons),
        advice=tuple(map(as_arguments, found.advice)),
        at_minimum=found.at_minimum is not False,
        descent=found.descent,
        llc_oracle=llc_oracle,
        notes=(*found.notes, *notes),
        settings=settings(trace, run),
        r_hat=found.r_hat,
        ess=found.ess_min,
        v_m=found.v_m,
        n=found.n,
        d=found.d,
        nbeta=found.nbeta,
        gamma=found.gamma,
        work_fge=found.work_fge,
        seconds=seconds,
        trace=trace,
        estimate=found,
        run=run,
    )
