"""A study: ask, run and tell, with several trials at once and a state that survives kills.

Outcomes are told to Optuna in the order of the trials. The outcome of a trial is stored in the
study as soon as it is known, so that after a kill the next command uses it and runs nothing twice.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.config.study import StudySpec
from lambda_hat_core.tuning import objectives
from lambda_hat_core.tuning.objectives import Measured
from lambda_hat_core.tuning.optimiser import Judge, ask
from lambda_hat_core.tuning.payloads import Ran, Runner
from lambda_hat_core.work.client import Event

_OUTCOME = "outcome"
PRUNED, LATE, INTERRUPTED = "pruned", "late", "interrupted"
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class TrialOutcome(NamedTuple):
    """The outcome of a trial.

    Attributes:
        state: how it ended.
        objective: the objective of a complete trial.
        llc: mean over its runs; for a pruned trial, the running mean of the run in which it ended.
        llc_se: root mean square of its runs' errors.
        v_m: mean V_M over its runs.
        work_fge: full-gradient evaluations of all its runs, including unfinished ones.
        wall_s: wall time in seconds.
        run_ids: the ids of its runs, one per seed.
        reason: why it is not complete.
    """

    state: Literal["complete", "pruned", "failed"]
    objective: float | None
    llc: float | None
    llc_se: float | None
    v_m: float | None
    work_fge: float
    wall_s: float
    run_ids: list[str]
    reason: str | None


def runs_of(spec: StudySpec, params: dict[str, Any]) -> list[RunSpec]:
    """Return the runs of a trial: the method with its parameters, one run per seed.

    All trials use the same seeds, so that settings that are proposed twice are the same runs.
    """
    sampler = spec.method.model_dump() | params
    return [
        RunSpec.model_validate(
            {
                "target": spec.target,
                "sampler": sampler,
                "posterior": spec.posterior,
                "seed": spec.seed + index,
                "dtype": spec.dtype,
            }
        )
        for index in range(spec.seeds_per_trial)
    ]


def outcome_of(trial: FrozenTrial) -> TrialOutcome | None:
    """Return the stored outcome of a trial; None while it is running."""
    noted = trial.user_attrs.get(_OUTCOME)
    return None if noted is None else TrialOutcome(**noted)


class Search:
    """The execution of one study.

    Args:
        study: the Optuna study.
        spec: its specification.
        target: the target of every run.
        reference: the llc to compare with, if the objective needs one.
        runner: executes the runs.
        slots: number of trials that run at the same time.
        told: called with every trial that has been told to Optuna, in order.
    """

    def __init__(
        self,
        study: optuna.Study,
        spec: StudySpec,
        target: TargetSpec,
        reference: float | None,
        runner: Runner,
        slots: int,
        told: Callable[[FrozenTrial, TrialOutcome], None],
    ):
        self._study, self._spec, self._target = study, spec, target
        self._reference, self._runner, self._slots, self._told = reference, runner, slots, told
        self._stopped = threading.Event()

    def run(self, n_trials: int) -> None:
        """Run trials until the study has at least `n_trials`."""
        flying: dict[int, Future[TrialOutcome]] = {}
        pool = ThreadPoolExecutor(self._slots)
        try:
            while trial := self._next(set(flying), n_trials):
                flying[trial.number] = pool.submit(self._trial, trial)
                while len(flying) >= self._spec.batch_size:
                    self._tell(min(flying), flying)
            while flying:
                self._tell(min(flying), flying)
        finally:
            # Waited for, since the caller holds the study's lease: no trial reports after that.
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _next(self, flying: set[int], n_trials: int) -> FrozenTrial | None:
        """Return an unfinished trial of a killed command, else a new trial, or None at the end."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if not trial.state.is_finished() and trial.number not in flying:
                return trial
        return ask(self._study, self._spec) if len(trials) < n_trials else None

    def _tell(self, number: int, flying: dict[int, Future[TrialOutcome]]) -> None:
        outcome = flying[number].result()
        state = _STATES[outcome.state]
        values = outcome.objective if state == TrialState.COMPLETE else None
        told = self._study.tell(number, values, state=state)
        del flying[number]
        self._told(told, outcome)

    def _trial(self, trial: FrozenTrial) -> TrialOutcome:
        outcome = outcome_of(trial)
        if outcome is None:
            judge = Judge(self._study, self._spec, trial)
            outcome = _Trial(self, trial, judge).run()
            if not self._stopped.is_set():
                handle = optuna.trial.Trial(self._study, trial._trial_id)
                handle.set_user_attr(_OUTCOME, outcome._asdict())
        return outcome


class _Trial:
    """One running trial, which executes its seeds one after another in one thread."""

    def __init__(self, search: Search, trial: FrozenTrial, judge: Judge):
        self._spec, self._target = search._spec, search._target
        self._reference, self._runner = search._reference, search._runner
        self._is_stopped = search._stopped.is_set
        self._params, self._judge = trial.params, judge
        self._done: list[Measured] = []
        self._last: Measured | None = None
        self._began = time.monotonic()

    def run(self) -> TrialOutcome:
        """Run the trial and return its outcome."""
        try:
            specs = runs_of(self._spec, self._params)
        except ValueError as error:
            return self._ended("failed", [], 0.0, " ".join(str(error).split()))
        ids, work = [spec.id for spec in specs], 0.0
        for spec in specs:
            left = max(0.0, self._spec.trial_sec - (time.monotonic() - self._began))
            ran = self._runner.run(spec, self._target, self._steer(spec), left)
            work += ran.work_fge
            if ran.status == "stopped" and ran.reason == PRUNED:
                return self._ended("pruned", ids, work, self._why_pruned())
            if ran.status == "stopped":
                budget = f"the trial exceeded its {self._spec.trial_sec:g} s"
                return self._ended("failed", ids, work, budget)
            if ran.status == "failed":
                return self._ended("failed", ids, work, ran.reason)
            self._done.append(_measured(ran))
            if ran.record["llc"] is None:
                return self._ended("failed", ids, work, "; ".join(ran.record["reasons"]))
        try:
            found = objectives.value(self._spec.objective, self._done, self._reference)
        except ValueError as error:
            return self._ended("failed", ids, work, str(error))
        return self._ended("complete", ids, work, None, found)

    def _steer(self, spec: RunSpec) -> Callable[[Event], str | None]:
        first = 100 * len(self._done)
        n_burn = getattr(spec.sampler, "n_burn", 0)

        def steer(at: Event) -> str | None:
            """Return a reason to stop if the trial is interrupted, late or pruned.

            A run that has just finished is never stopped.
            """
            if at["done"] >= at["total"]:
                return None
            if self._is_stopped():
                return INTERRUPTED
            if time.monotonic() - self._began > self._spec.trial_sec:
                return LATE
            if at["done"] <= n_burn:
                return None
            self._last = Measured(at["llc"], at["llc_se"], at["v_m"], at["work_fge"])
            step = first + round(100 * at["done"] / at["total"])
            return PRUNED if self._judge.prunes(step, self._running_value()) else None

        return steer

    def _running_value(self) -> float:
        assert self._last is not None
        try:
            return objectives.value(
                self._spec.objective, [*self._done, self._last], self._reference
            )
        except ValueError:
            return math.nan

    def _why_pruned(self) -> str:
        at = self._running_value()
        return f"worse than half of the earlier trials: {at:.4g} in run {len(self._done) + 1}"

    def _ended(
        self,
        state: Literal["complete", "pruned", "failed"],
        ids: list[str],
        work: float,
        reason: str | None,
        objective: float | None = None,
    ) -> TrialOutcome:
        seen = self._done if self._done or self._last is None else [self._last]
        llc = [run.llc for run in seen if run.llc is not None]
        se = [run.se**2 for run in seen if run.se is not None]
        v_m = [run.v_m for run in seen if run.v_m is not None]
        return TrialOutcome(
            state=state,
            objective=objective,
            llc=_mean(llc),
            llc_se=math.sqrt(mean) if (mean := _mean(se)) is not None else None,
            v_m=_mean(v_m),
            work_fge=work,
            wall_s=time.monotonic() - self._began,
            run_ids=ids,
            reason=reason,
        )


def _measured(ran: Ran) -> Measured:
    record = ran.record
    return Measured(record["llc"], record["llc_se"], record["v_m"], record["work_fge"])


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
