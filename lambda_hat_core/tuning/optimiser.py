"""The Optuna side of a study: storage, proposals and pruning.

Proposal number k, and whether trial k is pruned, depend only on the trials up to k - batch_size.
Both are determined by a twin: a study in memory that contains these trials, with the later ones as
running, and whose sampler has a seed that depends on k. Therefore neither the order in which trials
end nor a kill at any moment changes a number.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from lambda_hat_core.config.samplers.constant import Constant
from lambda_hat_core.config.study import (
    Choices,
    FloatRange,
    IntRange,
    Pruner,
    SearchSampler,
    StudySpec,
)

SQLITE, JOURNAL = "study.db", "study.log"
_FIRST_SEED = 2**31


def open_study(folder: Path, name: str, *, journal: bool) -> optuna.Study:
    """Return the study that is stored in a folder, or a new one.

    Args:
        folder: the folder of the study.
        name: the id of the study.
        journal: whether to use a log of operations, which is safe on shared file systems, instead
            of SQLite.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=name,
        storage=_journal(folder) if journal else f"sqlite:///{folder / SQLITE}",
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )


def _journal(folder: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def distributions(spec: StudySpec) -> dict[str, BaseDistribution]:
    """Return the search space as Optuna distributions, sorted by name."""
    return {name: _distribution(spec.search_space[name]) for name in sorted(spec.search_space)}


def _distribution(found: FloatRange | IntRange | Choices) -> BaseDistribution:
    match found:
        case FloatRange():
            return FloatDistribution(found.low, found.high, log=found.log, step=found.step)
        case IntRange():
            return IntDistribution(found.low, found.high, log=found.log, step=found.step)
        case _:
            return CategoricalDistribution(found.choices)


def twin(spec: StudySpec, earlier: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory with the results that proposal k may depend on.

    Args:
        spec: the study.
        earlier: trials 0 .. k - 1, in order.
    """
    number = len(earlier)
    study = optuna.create_study(
        direction="minimize",
        sampler=_sampler(spec.sampler, number),
        pruner=_pruner(spec.pruner),
    )
    for trial in earlier:
        known = trial.number <= number - spec.batch_size
        study.add_trial(trial if known else _running(trial.params, distributions(spec)))
    return study


def _running(
    params: dict[str, Any], space: dict[str, BaseDistribution], **attributes: Any
) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, params=params, distributions=space, user_attrs=attributes
    )


def ask(study: optuna.Study, spec: StudySpec) -> FrozenTrial:
    """Propose the next trial and store it as running, in one operation of the storage.

    The first trial uses the method's own settings, if the search space contains them.
    """
    earlier = study.get_trials(deepcopy=False)
    space = distributions(spec)
    params = _own_settings(spec, space) if not earlier else None
    if params is None:
        params = twin(spec, earlier).ask(space).params
    study.add_trial(_running(params, space))
    return study.get_trials(deepcopy=False)[len(earlier)]


def _own_settings(spec: StudySpec, space: dict[str, BaseDistribution]) -> dict[str, Any] | None:
    method, own = spec.method, {}
    settled = method.settled(None, in_product=False) if isinstance(method, Constant) else method
    for name in space:
        found = spec.search_space[name]
        # A range has no `auto`, and what stands for it in most networks is a number.
        value = own[name] = getattr(method if isinstance(found, Choices) else settled, name)
        if isinstance(found, Choices):
            inside = any(type(value) is type(c) and value == c for c in found.choices)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            inside = number and found.low <= value <= found.high and found.step in (None, 1)
        if not inside:
            return None
    return own


def _seed(seed: int, number: int) -> int:
    """Return the seed of one proposal; different numbers have independent streams."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0]) % _FIRST_SEED


def _sampler(sampler: SearchSampler, number: int) -> optuna.samplers.BaseSampler:
    seed = _seed(sampler.seed, number)
    match sampler.type:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=sampler.n_startup_trials)
        case _:
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=sampler.n_startup_trials)


def _pruner(pruner: Pruner) -> optuna.pruners.BasePruner:
    if pruner.type == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=pruner.n_startup_trials, n_warmup_steps=pruner.n_warmup_steps
    )


class Judge:
    """Decides whether a running trial is pruned, and reports its values to the study.

    Args:
        study: the study that stores the reports.
        spec: the specification of the study.
        trial: the running trial.
    """

    def __init__(self, study: optuna.Study, spec: StudySpec, trial: FrozenTrial):
        earlier = study.get_trials(deepcopy=False)[: trial.number]
        self._kept = optuna.trial.Trial(study, trial._trial_id)
        self._known = dict(trial.intermediate_values)
        self._twin = twin(spec, earlier)
        self._twin.add_trial(_running(trial.params, distributions(spec)))
        self._mine = optuna.trial.Trial(self._twin, self._twin.trials[-1]._trial_id)

    def prunes(self, step: int, value: float) -> bool:
        """Report an intermediate value and return whether the trial should stop.

        Values that an earlier process reported for this trial before `step` are included.
        """
        if not math.isfinite(value):
            return False
        if self._known.pop(step, None) is None:
            self._kept.report(value, step)
        for before in sorted(known for known in self._known if known < step):
            self._mine.report(self._known.pop(before), before)
        self._mine.report(value, step)
        return bool(self._mine.should_prune())


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the fraction of the objective's variance per parameter; empty if unknown."""
    finished = [t for t in study.trials if t.state == TrialState.COMPLETE]
    values = {trial.value for trial in finished}
    if len(finished) < 4 or len(values) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    return {name: float(share) for name, share in found.items()}
