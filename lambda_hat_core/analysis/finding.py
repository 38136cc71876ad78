"""A problem of a run, as the verdict finds it."""

from typing import Literal, NamedTuple

from lambda_hat_core.analysis.measure import Verdict

CheckName = Literal["finite", "converged", "certificate"]

Cause = Literal[
    "stopped early",
    "no draws",
    "not finite",
    "stuck",
    "one chain",
    "few draws",
    "r_hat",
    "ess",
    "se",
    "divergences",
    "k-hat",
    "exchange rate",
    "round trips",
    "in burn-in",
    "precision",
    "family",
    "certificate",
    "noisy certificate",
    "ledger",
    "step bias",
    "heating",
    "rounding",
]
"""What a finding is about; `advice` has a way out for each."""


class Finding(NamedTuple):
    """One problem of a run.

    Attributes:
        check: the check that fails because of it.
        cause: what it is about.
        verdict: the verdict that it leads to.
        value: the measured value.
        threshold: the limit on that value.
        text: a sentence with both.
        persists: whether more draws would not change it.
    """

    check: CheckName
    cause: Cause
    verdict: Verdict
    value: float | None
    threshold: float | None
    text: str
    persists: bool = False
