"""The figures of one run."""

from pathlib import Path

from lambda_hat_core.analysis.figures.chains import energy_figure, rank_figure, trace_figure
from lambda_hat_core.analysis.figures.convergence import convergence_figure, wnv_figure
from lambda_hat_core.analysis.figures.style import references, save
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.running import running
from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.trace import Trace

FIGURES = ("trace", "rank", "energy", "llc_convergence_combined", "wnv")
"""What a run may have; `energy` only where its sampler has one."""


def draw_figures(
    trace: Trace,
    estimate: Estimate,
    folder: Path,
    *,
    title: str,
    llc_known: float | None = None,
    llc_oracle: float | None = None,
) -> list[Path]:
    """Draw a run's figures as PNG into a folder that exists.

    Args:
        trace: the run, failed or not.
        estimate: its estimate.
        folder: where `<name>.png` go, for the names in `FIGURES`.
        title: what ran on what, in words.
        llc_known: lambda, drawn as a dashed line.
        llc_oracle: the exact value at this nbeta and gamma, dotted.
    """
    lines, run = references(llc_known, llc_oracle), running(trace)
    said = _summary(estimate)
    figures = {
        "trace": trace_figure(trace, title, said, lines),
        "rank": rank_figure(trace, title, said),
        "llc_convergence_combined": convergence_figure(run, title, said, lines),
        "wnv": wnv_figure(run, title, said),
    }
    if "energy" in trace.stats:
        figures["energy"] = energy_figure(trace, title, said, estimate.bfmi)
    return [save(figures[name], folder / f"{name}.png") for name in FIGURES if name in figures]


def _summary(estimate: Estimate) -> str:
    why = "; ".join([estimate.verdict, *estimate.reasons[:1]])
    if estimate.llc is None:
        return why
    return f"LLC {plus_minus(estimate.llc, estimate.llc_se)}, {why}"
