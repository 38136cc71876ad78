"""References: runs of an exact sampler, of increasing length until the result is certified.

The certificate has two parts. First, R-hat, effective draws, V_M and the error must be within their
limits. Then a second run at a larger gamma, with another seed, must satisfy the same limits, and
its llc must agree with that predicted by the draws of the first run, weighted by exp(-(gamma' -
gamma)/2 |w - w*|^2). Chains that miss a part of the posterior can pass the first part; two runs
that miss different parts disagree in the second.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lambda_hat_core.analysis.verdict import V_M_TOLERANCE
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.config.study import ProblemSpec
from lambda_hat_core.plan.study import TunedPosterior
from lambda_hat_core.store import files
from lambda_hat_core.store.store import Store
from lambda_hat_core.tuning.payloads import Ran, Runner
from lambda_hat_core.tuning.results import REFERENCE

R_HAT_MAX = 1.01
ESS_MIN = 400.0
"""The limits of Vehtari et al. 2021 (arXiv:1903.08008), section 4, stricter than those of a
verdict: everything else is compared with a reference."""

SE_SHARE = 0.01
"""Largest ratio of the error to the llc. Settings are compared at the level of a few per cent, and
settings tuned against a noisy reference are fitted to its noise."""

DIVERGENT_SHARE = 1e-3
"""Fraction of divergent draws above which trajectories probably fail to enter some region."""

GAMMA_RATIO = 1.25
"""Ratio of the second gamma to the first. With 100 flat directions a fifth of the draws' weight
remains."""

SES = 3.0
"""Largest difference between prediction and second run, in combined standard errors."""

_RUNGS = 8
_LATE = "late"


class Reference(NamedTuple):
    """The reference value of a problem.

    Attributes:
        problem: the id of the problem.
        certified: whether both parts of the certificate are satisfied.
        llc: the llc of the longest run at the problem's gamma; None if no run was completed.
        llc_se: its standard error.
        run_id: the id of that run.
        checked_by: the id of the run at the second gamma.
        reasons: why the reference is not certified.
        work_fge: full-gradient evaluations of all runs.
        wall_s: wall time of all runs in seconds.
        budget_sec: the time limit in seconds.
    """

    problem: str
    certified: bool
    llc: float | None
    llc_se: float | None
    run_id: str | None
    checked_by: str | None
    reasons: list[str]
    work_fge: float
    wall_s: float
    budget_sec: float

    def words(self) -> str:
        """Return a one-line description."""
        about = "no estimate" if self.llc is None else f"llc {self.llc:.4g} +- {self.llc_se:.2g}"
        if self.certified:
            return f"{about}, certified in {self.work_fge:.3g} gradients"
        return f"{about}, NOT certified: {'; '.join(self.reasons)}"


def read(store: Store, id: str) -> Reference | None:
    """Return the stored reference of a problem or of a study.

    It is None if there is none, or if its file is damaged: then it is found again.
    """
    facts = files.read_sealed(store.path("tuning", id) / REFERENCE)
    return None if facts is None else Reference(**facts)


def write(store: Store, id: str, found: Reference) -> None:
    """Store the reference of a problem, or the one that a study used."""
    path = store.path("tuning", id) / REFERENCE
    files.write_sealed(path, found._asdict())


def certify(
    store: Store,
    problem: TunedPosterior,
    runner: Runner,
    budget_sec: float,
    say: Callable[[str], None],
) -> Reference:
    """Return the reference of a problem, running samplers until it is certified or time is up.

    An existing reference is reused if it is certified, or if its budget was at least as large.
    """
    with store.lease("tuning", problem.spec.id, say):
        earlier = read(store, problem.spec.id)
        if earlier is not None and (earlier.certified or earlier.budget_sec >= budget_sec):
            if earlier.run_id and store.is_complete("analyses", earlier.run_id):
                say(f"reference of {problem.name} exists: {earlier.words()}")
                return earlier
        runner.build(problem.target)
        found = _Ladder(store, problem, runner, budget_sec, say).climb()
        write(store, problem.spec.id, found)
    say(f"reference of {problem.name}: {found.words()}")
    return found


def rung(spec: ProblemSpec, number: int, *, second: bool) -> RunSpec:
    """Return the run number `number`, at the first or the second gamma."""
    sampler = spec.reference.model_dump()
    sampler["n_draws"] = sampler["n_draws"] * 2**number
    posterior = spec.posterior.model_dump()
    if second:
        posterior["gamma"] = GAMMA_RATIO * posterior["gamma"] or 1.0
        if posterior["prior_radius"] is not None:
            posterior["prior_radius"] /= math.sqrt(GAMMA_RATIO)
    return RunSpec.model_validate(
        {
            "target": spec.target,
            "sampler": sampler,
            "posterior": posterior,
            "seed": spec.seed + second,
            "dtype": "float64",
        }
    )


class _Ladder:
    """Runs of increasing length within one budget, in which reused runs count in full."""

    def __init__(
        self,
        store: Store,
        problem: TunedPosterior,
        runner: Runner,
        budget_sec: float,
        say: Callable[[str], None],
    ):
        self._store, self._problem, self._runner, self._say = store, problem, runner, say
        self._budget = budget_sec
        self._work = self._spent = 0.0
        self._first: dict[str, Any] = {}
        self._second: str | None = None

    def climb(self) -> Reference:
        reasons: list[str] = []
        for number in range(_RUNGS):
            first, why = self._run(rung(self._problem.spec, number, second=False))
            if why:
                return self._ended([*reasons, why])
            self._first = first
            reasons = list(doubts(first))
            if not reasons:
                second, why = self._run(rung(self._problem.spec, number, second=True))
                if why:
                    return self._ended([f"the second gamma was not reached: {why}"])
                self._second = second["run_id"]
                reasons = [f"at the second gamma {doubt}" for doubt in doubts(second)]
                reasons += self._disagreement(first, second)
            if not reasons:
                return self._ended([])
            self._say(f"{first['run_id']}: {'; '.join(reasons)}; a longer run follows")
        return self._ended(
            [*reasons, f"after {_RUNGS} runs, each twice as long as the previous one"]
        )

    def _run(self, spec: RunSpec) -> tuple[dict[str, Any], str]:
        """Return the analysis of a run, or the reason why there is none."""
        left = self._budget - self._spent
        over = f"the budget of {self._budget:g} s is used up"
        if left <= 0:
            return {}, over
        began = time.monotonic()

        def steer(at: dict[str, Any]) -> str | None:
            late = time.monotonic() - began > left and at["done"] < at["total"]
            return _LATE if late else None

        self._say(f"{spec.id}: {spec.sampler.kind}, gamma {spec.posterior.gamma:g}, started")
        ran: Ran = self._runner.run(spec, self._problem.target, steer, left)
        self._work += ran.work_fge
        self._spent += ran.record["wall_s"] if ran.reused else ran.wall_s
        if ran.status == "done":
            return ran.record, ""
        return {}, over if ran.reason == _LATE else ran.reason or "no reason given"

    def _disagreement(self, first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
        llc, dist2 = _draws(self._store, first["run_id"])
        predicted, se = reweighted(llc, dist2, second["gamma"] - first["gamma"])
        error = math.hypot(se, second["llc_se"])
        off = abs(predicted - second["llc"])
        if not off <= SES * error:
            yield (
                f"the run at gamma {first['gamma']:g} predicts {predicted:.4g} at gamma "
                f"{second['gamma']:g}, but the run there gives {second['llc']:.4g}: "
                f"{off / error:.1f} standard errors apart"
            )

    def _ended(self, reasons: list[str]) -> Reference:
        first = self._first
        return Reference(
            problem=self._problem.spec.id,
            certified=not reasons,
            llc=first.get("llc"),
            llc_se=first.get("llc_se"),
            run_id=first.get("run_id"),
            checked_by=self._second,
            reasons=reasons,
            work_fge=self._work,
            wall_s=self._spent,
            budget_sec=self._budget,
        )


def doubts(record: dict[str, Any]) -> Iterator[str]:
    """Yield the reasons why a run cannot be a reference."""
    if record["verdict"] == "failed" or record["llc"] is None or record["llc_se"] is None:
        yield "; ".join(record["reasons"]) or "it has no standard error"
        return
    if record["llc"] <= 0:
        yield "its estimate is not positive: w* is not a minimum"
        return
    r_hat, ess, v_m = record["r_hat"], record["ess_min"], record["v_m"]
    if r_hat is None or r_hat > R_HAT_MAX:
        yield f"R-hat is {r_hat if r_hat is None else round(r_hat, 3)}, above {R_HAT_MAX}"
    if ess is None or ess < ESS_MIN:
        yield f"{ess or 0:.0f} effective draws, fewer than {ESS_MIN:.0f}"
    if record["llc_se"] > SE_SHARE * record["llc"]:
        yield f"its error is {record['llc_se'] / record['llc']:.1%}, more than {SE_SHARE:.0%}"
    if v_m is not None and abs(v_m - 1) > V_M_TOLERANCE:
        yield f"V_M is {v_m:.3f}, further from 1 than {V_M_TOLERANCE}"
    divergent = record.get("n_divergent") or 0
    if divergent > DIVERGENT_SHARE * record["n_draws"] * record["n_chains"]:
        yield f"{divergent} diverging draws"


def reweighted(llc: np.ndarray, dist2: np.ndarray, more_gamma: float) -> tuple[float, float]:
    """Return the llc that draws predict for a larger gamma, and its standard error.

    Args:
        llc: the llc of every draw, of shape (chain, draw).
        dist2: |w - w*|^2 of every draw, of the same shape.
        more_gamma: the increase of gamma.
    """
    log_weight = -0.5 * more_gamma * dist2
    weight = np.exp(log_weight - log_weight.max())
    of_chain = (weight * llc).sum(axis=1) / weight.sum(axis=1)
    mean = float((weight * llc).sum() / weight.sum())
    se = float(of_chain.std(ddof=1)) / math.sqrt(len(of_chain)) if len(of_chain) > 1 else math.inf
    return mean, se


def _draws(store: Store, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    from pyarrow import parquet

    path = store.path("analyses", run_id) / "draws.parquet"
    table = parquet.read_table(path, columns=["chain", "llc", "dist2"])
    n_chains = len(np.unique(np.asarray(table["chain"])))
    llc, dist2 = (np.asarray(table[name]).reshape(n_chains, -1) for name in ("llc", "dist2"))
    return llc, dist2
