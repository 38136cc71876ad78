"""The tuning files under config/tune, and the card's limits on them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lambda_hat_assets.cards.card import Card
from lambda_hat_core.config.errors import ConfigError, Place, Problems
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.plan.read import files_of, resolve
from lambda_hat_core.plan.study import VARIABLE, TunePlan, load_tuning

DEFAULT = "demo"


class Studies(NamedTuple):
    """The tuning files, and the one that LAMBDA_HAT_TUNE selects.

    Attributes:
        plans: every file that can be read, by name.
        selected: the name or path in LAMBDA_HAT_TUNE.
        mistakes: the mistakes, one per line, by file.
        config: the folder config/.
        asked: the names of the files that LAMBDA_HAT_TUNE selects: one, or none if it is not set.
    """

    plans: dict[str, TunePlan]
    selected: str
    mistakes: dict[str, str]
    config: Path
    asked: frozenset[str] = frozenset()

    def plan(self, file: str | None, words: Sequence[str]) -> TunePlan:
        """Return a plan, by default the selected one, with `key=value` words applied.

        Raises:
            ConfigError: if the plan has mistakes, with one line per mistake.
        """
        return load_tuning(file or self.selected, self.config, words)

    def wanted(self, made: Collection[str]) -> "Studies":
        """Return the files that somebody asked for: the selected one, and those begun already.

        Args:
            made: the ids of the references and studies that have a folder in the store.
        """
        plans = {
            name: plan
            for name, plan in self.plans.items()
            if name in self.asked or not plan.studies.keys().isdisjoint(made)
        }
        return self._replace(plans=plans)

    def problems(self) -> dict[str, TunePlan]:
        """Return the plan of each problem, by the problem's id."""
        return {id: plan for plan in reversed(self.plans.values()) for id in plan.problems}

    def studies(self) -> dict[str, TunePlan]:
        """Return the plan of each study, by the study's id."""
        return {id: plan for plan in reversed(self.plans.values()) for id in plan.studies}


def read_studies(environment: Mapping[str, str], config: Path) -> Studies:
    """Read every tuning file of the project and of the package."""
    wanted = environment.get(VARIABLE, DEFAULT)
    files = list(files_of(config, "tune").values())
    plans: dict[str, TunePlan] = {}
    asked: frozenset[str] = frozenset()
    mistakes: dict[str, str] = {}
    chosen = None
    try:
        chosen = resolve(wanted, config, "tune", "tuning plan", VARIABLE)
        files = [chosen, *(file for file in files if not file.samefile(chosen))]
    except ConfigError as error:
        if VARIABLE in environment:
            mistakes[wanted] = str(error)
    for file in files:
        try:
            plan = load_tuning(file, config)
            plans.setdefault(plan.name, plan)
        except ConfigError as error:
            mistakes[file.stem] = str(error)
            continue
        if file == chosen and VARIABLE in environment:
            asked = frozenset([plan.name])
    return Studies(plans, wanted, mistakes, config, asked)


def slots(card: Card, plan: TunePlan, dtype: Dtype) -> int:
    """Return how many trials of a dtype may run at once according to the file and the card."""
    allowed = card.at_once(dtype)
    cap = getattr(plan.settings.concurrency.per_executor, dtype)
    return min(allowed, cap or allowed)


def check_budgets(plan: TunePlan, card: Card) -> None:
    """Refuse budgets that exceed the walltimes of the card.

    Raises:
        ConfigError: if there are any, with one line per budget.
    """
    problems = Problems()
    needs: set[tuple[str, Dtype]] = set()
    if _needs_reference(plan):
        needs.add(("reference_sec", "float64"))
    needs |= {("trial_sec", study.spec.dtype) for study in plan.studies.values()}
    for key, dtype in sorted(needs):
        limit = getattr(card.tag(dtype), "seconds", None)
        value = getattr(plan.settings.budget, key)
        if limit is not None and value > limit:
            rule = f"the card's jobs of {dtype} end after {limit:g} s"
            way_out = "lower it, or raise walltime in the card"
            problems.add(Place(plan.name, f"budget.{key}").problem(rule, way_out, value))
    problems.raise_any()


def _needs_reference(plan: TunePlan) -> bool:
    return any(study.spec.reference for study in plan.studies.values())


def routing(plan: TunePlan, card: Card) -> list[str]:
    """Return lines that say where the runs of every study are computed, and how many there are."""
    lines = [*card.routing()]
    settings = plan.settings
    trials, seeds = settings.max_trials_per_method, settings.seeds_per_trial
    for id, study in plan.studies.items():
        at_once = slots(card, plan, study.spec.dtype)
        lines.append(
            f"{id}: {plan.label(id)}, {trials} trials of {seeds} runs in {study.spec.dtype}, "
            f"{min(at_once, study.spec.batch_size)} at once"
        )
    runs = len(plan.studies) * trials * seeds
    references = len(plan.problems) if _needs_reference(plan) else 0
    lines.append(f"studies: {len(plan.studies)}; runs: {runs} at most; references: {references}")
    return lines
