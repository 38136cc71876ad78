"""The details of one run on the page: its settings, its diagnostics, its ledger and its log."""

from collections.abc import Mapping
from html import escape
from typing import Any

from lambda_hat_core.gallery import observed
from lambda_hat_core.gallery.rows import Row

_DIAGNOSTICS = {
    "acceptance": "acceptance",
    "n_divergent": "divergent draws",
    "n_stuck": "stuck chains",
    "n_chains": "chains",
    "n_draws": "draws per chain",
    "n_burn": "of which burn-in",
    "ess_bulk": "ESS, bulk",
    "ess_tail": "ESS, tails",
    "ess_min_of": "smallest ESS of",
    "r_hat_of": "largest R-hat of",
    "bfmi": "E-BFMI",
    "khat": "k-hat",
    "descent": "descent",
    "stopped_by": "ended by",
}
_LEDGER = {
    "localisation": "localisation: the localiser against none",
    "discretisation": "discretisation: the step size",
    "minibatch": "minibatches: the noise of the gradients",
    "burn_in": "burn-in: the way from w*",
}
_LONGEST = 20_000
"""Number of characters of a log that are shown: its end."""


def details(row: Row) -> str:
    """Return the tables of a run and its log, each folded."""
    parts = [
        _table("Diagnostics", {_DIAGNOSTICS[k]: row.facts.get(k) for k in _DIAGNOSTICS}),
        _table("Settings, as the run used them", row.settings),
        _table("Work in full-gradient evaluations", row.work),
        _ledger(row.facts.get("ledger")),
        observed.table(row.means),
    ]
    log = ""
    if row.log:
        text = row.log[-_LONGEST:]
        log = f"<details><summary>Log</summary><pre>{escape(text)}</pre></details>"
    tables = "".join(filter(None, parts))
    return (f'<div class="tables">{tables}</div>' if tables else "") + log


def _table(title: str, values: Mapping[str, Any]) -> str:
    told = {name: value for name, value in values.items() if value is not None}
    if not told:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_text(value))}</td></tr>'
        for name, value in told.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{lines}</tbody></table>"


def _ledger(ledger: Mapping[str, Any] | None) -> str:
    """Return the predicted biases, which minibatch samplers account for before they run."""
    if not ledger:
        return ""
    biases = {
        words: f"{ledger[name]['relative']:+.1%}"
        for name, words in _LEDGER.items()
        if name in ledger and "relative" in ledger[name]
    }
    return _table("Ledger: predicted parts of the bias", biases)


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case dict():
            return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
