"""The figures of one run."""

from pathlib import Path

from matplotlib.figure import Figure

from lambda_hat_core.analysis.figures.chains import energy_figure, rank_figure, trace_figure
from lambda_hat_core.analysis.figures.convergence import convergence_figure, wnv_figure
from lambda_hat_core.analysis.figures.style import ReferenceLine, references, save
from lambda_hat_core.analysis.figures.tempering import tempering_figure
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.running import running
from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.samplers.trace import Trace

FIGURES = ("trace", "rank", "energy", "tempering", "llc_convergence_combined", "wnv")
"""The names of a run's figures; `energy` exists only for samplers that have an energy, and
`tempering` only for runs with replicas."""


def draw_figures(
    trace: Trace,
    estimate: Estimate,
    folder: Path,
    *,
    title: str,
    llc_known: float | None = None,
    llc_oracle: float | None = None,
) -> list[Path]:
    """Draw a run's figures as PNG files into an existing folder.

    Args:
        trace: the draws of the run, which may have failed.
        estimate: its estimate.
        folder: gets `<name>.png` for the names in `FIGURES`.
        title: sampler and target in words.
        llc_known: lambda, drawn as a dashed line.
        llc_oracle: the exact value at this nbeta and gamma, drawn as a dotted line.
    """
    figures = run_figures(trace, estimate, title, references(llc_known, llc_oracle))
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def run_figures(
    trace: Trace, estimate: Estimate, title: str, lines: list[ReferenceLine]
) -> dict[str, Figure]:
    """Return a run's figures by name, in the order of `FIGURES`."""
    run, said = running(trace), _summary(estimate)
    figures = {"trace": trace_figure(trace, title, said, lines)}
    figures["rank"] = rank_figure(trace, title, said)
    if "energy" in trace.stats:
        figures["energy"] = energy_figure(trace, title, said, estimate.bfmi)
    if estimate.tempered is not None:
        figures["tempering"] = tempering_figure(estimate.tempered, title, said, lines)
    figures["llc_convergence_combined"] = convergence_figure(run, title, said, lines)
    figures["wnv"] = wnv_figure(run, title, said)
    return figures


def _summary(estimate: Estimate) -> str:
    why = "; ".join([estimate.verdict, *estimate.reasons[:1]])
    if estimate.llc is None:
        return why
    return f"LLC {plus_minus(estimate.llc, estimate.llc_se)}, {why}"
