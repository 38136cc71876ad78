"""The project: the store, the card, and every target and run by its id.

A file that cannot be read does not prevent the others from being shown. Its mistakes are kept in
`problems`, and the `llc` job refuses to use it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.file import load_card
from lambda_hat_assets.project.studies import Studies, read_studies
from lambda_hat_core.config.base import NUMERICS_VERSION
from lambda_hat_core.config.errors import ConfigError, Place, display
from lambda_hat_core.config.spec import RunSpec, TargetSpec, Trajectory
from lambda_hat_core.plan.plan import Plan, joined, load_plan
from lambda_hat_core.plan.read import resolve_experiment
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.work.steps import missing_steps

CONFIG = Path("config")

CODE_VERSION = str(NUMERICS_VERSION)
"""Version of the code that determines results."""


class Project(NamedTuple):
    """The content of config/ and the selections of the environment.

    Attributes:
        store: the store at LAMBDA_HAT_HOME.
        card: the card that LAMBDA_HAT_CARD selects.
        plans: every experiment that can be read, by name.
        selected: the name of the experiment that LAMBDA_HAT_EXPERIMENT selects.
        problems: the mistakes, one per line, by the stem of the file or by `card`.
        targets: every target of every experiment, by id.
        runs: every run of every experiment, by id.
        labels: descriptions of targets and runs in words, by id.
        studies: the tuning files.
        trajectories: every training whose checkpoints are targets, with all steps asked for.
    """

    store: Store
    card: Card
    plans: dict[str, Plan]
    selected: str
    problems: dict[str, str]
    targets: dict[str, TargetSpec]
    runs: dict[str, RunSpec]
    labels: dict[str, str]
    studies: Studies
    trajectories: dict[str, Trajectory]

    def is_made(self, kind: Kind, key: str) -> bool:
        """Return whether the store has an artifact: of a training, all steps that are asked for."""
        if kind == "trajectories":
            return not missing_steps(self.store, self.trajectories[key])
        return self.store.is_complete(kind, key)

    def wanted(self) -> "Project":
        """Return the part of the project that somebody asked for, which the graph shows.

        These are the experiment that LAMBDA_HAT_EXPERIMENT selects and those that were run in this
        store; all of them, if there are none. What nobody asked for is not missing.
        """
        names = {self.selected, *records.recorded_experiments(self.store)}
        plans = {name: plan for name, plan in self.plans.items() if name in names} or self.plans
        trained = {id for plan in plans.values() for id in plan.trajectories}
        return self._replace(
            plans=plans,
            targets={id: spec for plan in plans.values() for id, spec in plan.targets.items()},
            runs={id: spec for plan in plans.values() for id, spec in plan.runs.items()},
            trajectories={id: it for id, it in self.trajectories.items() if id in trained},
            studies=self.studies.wanted(self.store.list("tuning")),
        )

    def plan(self, experiment: str | None) -> Plan:
        """Return the plan of an experiment, by default the selected one.

        Raises:
            ConfigError: if the plan or the card cannot be read.
        """
        name = experiment or self.selected
        wrong = [self.problems["card"]] if "card" in self.problems else []
        if name not in self.plans and name in self.problems:
            wrong.append(self.problems[name])
        if wrong:
            raise ConfigError("\n".join(wrong))
        if name not in self.plans:
            known = ", ".join(sorted(self.plans)) or "none"
            raise Place("job config", "ops.plan.config.experiment").error(
                "no experiment of that name is loaded",
                f"name one of: {known}; a file elsewhere is loaded by LAMBDA_HAT_EXPERIMENT",
                name,
            )
        return self.plans[name]


def load_project(environment: Mapping[str, str] = os.environ, config: Path = CONFIG) -> Project:
    """Read config/ and the files that the environment selects."""
    problems: dict[str, str] = {}
    card = Card()
    try:
        card = load_card(environment.get("LAMBDA_HAT_CARD", "local"), config)
    except ConfigError as error:
        problems["card"] = str(error)
    plans, selected = _load_plans(
        environment.get("LAMBDA_HAT_EXPERIMENT", "default"), config, problems
    )
    return Project(
        Store(environment.get("LAMBDA_HAT_HOME", "runs")),
        card,
        plans,
        selected,
        problems,
        {id: spec for plan in plans.values() for id, spec in plan.targets.items()},
        {id: spec for plan in plans.values() for id, spec in plan.runs.items()},
        {id: words for plan in plans.values() for id, words in plan.labels.items()},
        read_studies(environment, config),
        joined(plans.values()),
    )


def _load_plans(wanted: str, config: Path, problems: dict[str, str]) -> tuple[dict[str, Plan], str]:
    """Return the valid plans and the name of the wanted one; add mistakes to `problems`."""
    files = {file.resolve(): file for file in sorted((config / "experiment").glob("*.yaml"))}
    chosen, selected = Path(), wanted
    try:
        chosen = resolve_experiment(wanted, config)
        chosen = files.setdefault(chosen.resolve(), chosen)
        selected = chosen.stem
    except ConfigError as error:
        problems[wanted] = str(error)
    plans: dict[str, Plan] = {}
    for file in files.values():
        try:
            plan = load_plan(file, config)
            if plan.experiment in plans and file != chosen:
                place = Place(display(file), "experiment")
                raise place.error("two files have this name", "rename one", plan.experiment)
        except ConfigError as error:
            problems[file.stem] = str(error)
            continue
        plans[plan.experiment] = plan
        if file == chosen:
            selected = plan.experiment
    return plans, selected
