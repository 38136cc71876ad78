r"""What the replicas of one run tell beyond the estimate: the llc at every nbeta, and the evidence.

The evidence is log Z(nbeta) / Z(0), where Z(nbeta) is the integral over all w of

    exp(-nbeta (L_n(w) - L_n(w*)) - gamma/2 |w - w*|^2),

so Z(0) = (2 pi / gamma)^(d/2): with the localiser as the prior N(w*, 1 / gamma) it is the log
evidence relative to that of w*. A prior about 0 is part of it, as a factor that is 1 at w*. Without
a replica at nbeta 0 it is relative to the hottest one. It is minus the integral of E[L_n - L_n(w*)]
over nbeta (thermodynamic integration). Between neighbours the integral is taken by Bennett's
acceptance ratio (1976, doi:10.1016/0021-9991(76)90078-4), which needs no interpolation between
their means: with D = (nbeta_i - nbeta_j) (L_n - L_n(w*)) it is the c at which the mean of
1 / (1 + exp(D + c)) over the draws of the hotter one is that of 1 / (1 + exp(-D - c)) over those of
the colder one.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from lambda_hat_core.analysis.diagnostics import Series, mcmc_mean, number
from lambda_hat_core.analysis.poles import PoleFit, pole_fit
from lambda_hat_core.samplers.trace import Trace

EXCHANGE_RATE_MIN = 0.05
"""Lowest exchange rate of two neighbours. Below it they hardly mix by each other."""

ROUND_TRIPS_MIN = 10
"""Fewest round trips of all chains together. Each of them brings an independent draw to the coldest
replica, whatever its own moves cannot cross."""

_REACH = 50.0
"""First half width of the bracket in which the ratio is searched for, in nats."""


class Replica(NamedTuple):
    """One temperature of a run.

    Attributes:
        nbeta: its nbeta.
        llc: mean of nbeta (L_n - L_n(w*)) there; None at nbeta 0.
        llc_se: its standard error.
        acceptance: acceptance rate of its moves.
        exchange_rate: share of accepted exchanges with the next hotter one; None of the hottest.
        log_evidence: log Z(nbeta) / Z(hottest).
        log_evidence_se: its standard error.
    """

    nbeta: float
    llc: float | None
    llc_se: float | None
    acceptance: float
    exchange_rate: float | None
    log_evidence: float | None
    log_evidence_se: float | None


class Tempering(NamedTuple):
    """The replicas of a run, coldest first, and what follows from all of them together.

    Attributes:
        replicas: each of them.
        exchange_rate_min: the lowest exchange rate of two neighbours.
        round_trips: how often what was at the coldest replica returned there by way of the hottest.
        round_trips_by_chain: the same for every chain.
        log_evidence: that of the coldest replica.
        log_evidence_se: its standard error.
        reference_nbeta: nbeta of the hottest replica, which the evidence refers to.
        fit: lambda and m.
    """

    replicas: list[Replica]
    exchange_rate_min: float
    round_trips: int
    round_trips_by_chain: list[int]
    log_evidence: float | None
    log_evidence_se: float | None
    reference_nbeta: float
    fit: PoleFit

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        replicas = [replica._asdict() for replica in self.replicas]
        return {**self._asdict(), "replicas": replicas, "fit": self.fit._asdict()}


def tempering(trace: Trace) -> Tempering | None:
    """Return what the replicas of a complete trace tell, or None if it has none."""
    if "replica_loss" not in trace.stats:
        return None
    stats, ladder = trace.stats, [float(value) for value in trace.info["nbeta"]]
    losses = stats["replica_loss"]
    # Far from w* a loss may overflow to inf - inf. The exchanges count it as infinite too.
    excess = np.where(np.isnan(losses), np.inf, losses) - trace.loss0
    rates = stats["exchange_rate"].mean(axis=(0, 1))
    moves = stats["replica_acceptance"].mean(axis=(0, 1))
    trips = stats["round_trips"].sum(axis=1)
    evidence = _evidence(excess, ladder)
    replicas = []
    for i, nbeta in enumerate(ladder):
        found = mcmc_mean(nbeta * excess[:, :, i]) if nbeta > 0 else None
        replicas.append(
            Replica(
                nbeta,
                None if found is None else number(found.mean),
                None if found is None else number(found.se),
                float(moves[i]),
                float(rates[i]) if i < len(rates) else None,
                *evidence[i],
            )
        )
    curve = np.array([(r.nbeta, r.llc, r.llc_se) for r in replicas if r.llc_se], float)
    curve = curve.reshape(-1, 3)
    return Tempering(
        replicas,
        float(rates.min()),
        int(trips.sum()),
        [int(count) for count in trips],
        *evidence[0],
        ladder[-1],
        pole_fit(curve[:, 0], curve[:, 1], curve[:, 2], trace.d),
    )


class Shortcoming(NamedTuple):
    """What replicas did too seldom: value, limit, a sentence, and whether it persists."""

    cause: Literal["exchange rate", "round trips"]
    value: float
    threshold: float
    text: str
    persists: bool


def shortcomings(found: Tempering | None, *, is_certified: bool) -> Iterator[Shortcoming]:
    """Yield the reasons not to rely on the exchanges of a run.

    Args:
        found: the replicas.
        is_certified: whether the coldest replica would count as mixed without the others. On smooth
            posteriors it does, while a ladder of 30 replicas takes thousands of steps for ten
            round trips.
    """
    if found is None:
        return
    count, rate, trips = len(found.replicas), found.exchange_rate_min, found.round_trips
    if rate < EXCHANGE_RATE_MIN:
        text = (
            f"two neighbouring replicas exchange their positions at {rate:.2g} of the attempts, "
            f"below {EXCHANGE_RATE_MIN}"
        )
        yield Shortcoming("exchange rate", rate, EXCHANGE_RATE_MIN, text, True)
    if trips < ROUND_TRIPS_MIN and not is_certified:
        text = (
            f"only {trips} round trips between the coldest and the hottest of {count} replicas, "
            f"fewer than {ROUND_TRIPS_MIN}, and V_M does not show without them that chains mix"
        )
        yield Shortcoming("round trips", float(trips), float(ROUND_TRIPS_MIN), text, False)


def _evidence(
    excess: Float[np.ndarray, "chain draw replica"], ladder: list[float]
) -> list[tuple[float | None, float | None]]:
    """Return the log evidence of every replica with its error, from the hottest one on."""
    total, noise = 0.0, np.zeros(excess.shape[:2])
    found: list[tuple[float | None, float | None]] = [(0.0, 0.0)]
    for i in range(len(ladder) - 2, -1, -1):
        step = ladder[i] - ladder[i + 1]
        change, influence = _bennett(step * excess[:, :, i], step * excess[:, :, i + 1])
        total, noise = total + change, noise + influence
        found.append((number(total), number(mcmc_mean(noise).se)))
    return found[::-1]


def _bennett(cold: Series, hot: Series) -> tuple[float, Series]:
    """Return log Z(colder) / Z(hotter), and how much every draw contributes to its error.

    Both are nan if no draw of either tells anything of the other.

    Args:
        cold: D at the draws of the colder replica.
        hot: D at those of the hotter one.
    """

    def lacks(c: float) -> float:
        return float(np.mean(expit(-hot - c)) - np.mean(expit(cold + c)))

    usual = -float(np.median(cold))
    low, high = usual - _REACH, usual + _REACH
    while lacks(low) < 0:
        low -= _REACH
    while lacks(high) > 0:
        high += _REACH
    from scipy.optimize import root_scalar  # every estimate would import it

    c = float(root_scalar(lacks, bracket=(low, high), xtol=1e-10).root)
    forward, backward = expit(-hot - c), expit(cold + c)
    slope = np.mean(forward * (1 - forward)) + np.mean(backward * (1 - backward))
    if slope == 0:
        return math.nan, np.full_like(forward, math.nan)
    return c, (forward - backward) / slope
