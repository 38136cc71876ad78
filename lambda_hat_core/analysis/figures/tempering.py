"""The figure of a run with replicas: the llc at every nbeta with lambda, and how they exchanged."""

import math

from matplotlib.figure import Figure

from lambda_hat_core.analysis.diagnostics import t_quantile
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.tempering import EXCHANGE_RATE_MIN, Tempering
from lambda_hat_core.analysis.words import many, plus_minus

_Z = t_quantile(math.inf)


def tempering_figure(found: Tempering, title: str, said: str, lines: list[ReferenceLine]) -> Figure:
    """Draw the profile and the fitted lambda on the left, exchange rates on the right."""
    figure = style.new_figure(9.0, 4.4, title, said, bottom=1.1, top=0.9, gap=0.75)
    profile, ladder = figure.subplots(1, 2)
    shown = [r for r in found.replicas if r.llc is not None]
    style.dress(profile, "nβ", "LLC, 90 % interval", _evidence(found))
    profile.errorbar(
        [r.nbeta for r in shown],
        [r.llc for r in shown],
        yerr=[_Z * (r.llc_se or 0.0) for r in shown],
        color=style.colour(0),
        marker="o",
        markersize=4,
        linewidth=1.2,
        capsize=3,
        label="replicas",
    )
    fit = found.fit
    if fit.llc is not None and fit.llc_se is not None:
        colour, width = style.colour(1), _Z * fit.llc_se
        label = f"fitted λ = {plus_minus(fit.llc, fit.llc_se)}, m = {fit.multiplicity}"
        profile.axhspan(fit.llc - width, fit.llc + width, color=colour, alpha=0.2, lw=0)
        profile.axhline(fit.llc, color=colour, linewidth=1.5, label=label)
    style.draw_references(profile, lines)
    style.log_axis(profile, "x", [r.nbeta for r in shown])
    style.dress(
        ladder,
        "replica, from the coldest on",
        "share that is accepted",
        many(found.round_trips, "round trip"),
    )
    rates = [r.exchange_rate for r in found.replicas if r.exchange_rate is not None]
    ladder.plot(
        range(len(rates)), rates, color=style.colour(0), marker="o", label="exchanges with the next"
    )
    moves = [r.acceptance for r in found.replicas]
    ladder.plot(range(len(moves)), moves, color=style.colour(2), marker="s", label="moves")
    ladder.axhline(EXCHANGE_RATE_MIN, color=style.FAINT, linestyle="--", label="lowest that passes")
    ladder.set_ylim(0, 1.05)
    style.count_axis(ladder)
    for axes in (profile, ladder):
        style.legend(axes, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def _evidence(found: Tempering) -> str:
    if found.log_evidence is None:
        return ""
    value = plus_minus(found.log_evidence, found.log_evidence_se)
    return f"log evidence {value}, relative to nβ = {found.reference_nbeta:.3g}"
