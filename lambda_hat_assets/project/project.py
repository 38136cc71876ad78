"""The project: the store, the card, and every target and run by its id.

A file that cannot be read does not prevent the others from being shown. Its mistakes are kept in
`problems`, and the `llc` job refuses to use it.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.file import DEFAULT, load_card
from lambda_hat_assets.project.home import store_at
from lambda_hat_assets.project.studies import Studies, read_studies
from lambda_hat_core.config.base import NUMERICS_VERSION
from lambda_hat_core.config.errors import ConfigError, Place, display
from lambda_hat_core.config.spec import RunSpec, TargetSpec, Trajectory
from lambda_hat_core.gallery.members import changed_name
from lambda_hat_core.plan.plan import Plan, joined, load_plan
from lambda_hat_core.plan.read import files_of, resolve_experiment
from lambda_hat_core.store.damaged import damaged, left_out, read_asked
from lambda_hat_core.store.experiments import asked_files
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
        plans: every experiment of config/ that can be read, and those of the package that somebody
            asked for, by name.
        selected: the name of the experiment that LAMBDA_HAT_EXPERIMENT selects.
        problems: the mistakes, one per line, by the stem of the file or by `card`.
        targets: every target of every experiment, by id.
        runs: every run of every experiment, by id.
        labels: descriptions of targets and runs in words, by id.
        studies: the tuning files.
        trajectories: every training whose checkpoints are targets, with all steps asked for.
        files: the file of each experiment.
        config: the folder config/.
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
    files: dict[str, Path]
    config: Path

    @property
    def names(self) -> list[str]:
        """The names of all experiments that may be run, those of the package among them."""
        return sorted({*self.plans, *files_of(self.config, "experiment")})

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
        names = {self.selected, *read_asked(self.store)}
        plans = {name: plan for name, plan in self.plans.items() if name in names} or self.plans
        members = _members(plans)
        trained = {id: self.trajectories[id] for id in members["trajectories"]}
        return self._replace(
            plans=plans,
            **(members | {"trajectories": trained}),
            studies=self.studies.wanted(self.store.list("tuning")),
        )

    def changed(self, experiment: str, changes: Sequence[str]) -> Plan:
        """Return the plan of an experiment with changes to its file, under a name of its own.

        Raises:
            ConfigError: if the changes do not fit the file.
        """
        shipped = files_of(self.config, "experiment")
        file = self.files[experiment] if experiment in self.files else shipped[experiment]
        return _changed(file, self.config, changes)

    def with_plan(self, plan: Plan) -> "Project":
        """Return the project with one more experiment."""
        plans = {**self.plans, plan.experiment: plan}
        return self._replace(plans=plans, **_members(plans))

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
        shipped = files_of(self.config, "experiment")
        if name not in self.plans and name in shipped:
            return load_plan(shipped[name], self.config)
        if name not in self.plans:
            raise Place("job config", "ops.plan.config.experiment").error(
                "no experiment of that name is loaded",
                f"name one of: {', '.join(self.names)}; a file elsewhere is loaded by "
                "LAMBDA_HAT_EXPERIMENT",
                name,
            )
        return self.plans[name]


def load_project(environment: Mapping[str, str] = os.environ, config: Path = CONFIG) -> Project:
    """Read config/ and the files that the environment selects."""
    problems: dict[str, str] = {}
    card = Card()
    try:
        card = load_card(environment.get("LAMBDA_HAT_CARD", DEFAULT), config)
    except ConfigError as error:
        problems["card"] = str(error)
    store = store_at(environment)
    asked = read_asked(store)
    problems |= {path.name: left_out(path) for path in damaged(asked_files(store))}
    plans, selected, named = _load_plans(
        environment.get("LAMBDA_HAT_EXPERIMENT", "default"),
        {experiment for experiment, _ in asked.values()},
        config,
        problems,
    )
    for name, (experiment, changes) in asked.items():
        if changes and experiment in named:
            try:
                plans[name] = _changed(named[experiment], config, changes)
            except ConfigError as error:
                problems[name] = f"{error} (remove {store.root}/experiments/{name}.json)"
    return Project(
        store=store,
        card=card,
        plans=plans,
        selected=selected,
        problems=problems,
        studies=read_studies(environment, config),
        files=named,
        config=config,
        **_members(plans),
    )


def _members(plans: Mapping[str, Plan]) -> dict[str, Any]:
    """Return the fields of a project that its plans determine."""
    return {
        "targets": {id: spec for plan in plans.values() for id, spec in plan.targets.items()},
        "runs": {id: spec for plan in plans.values() for id, spec in plan.runs.items()},
        "labels": {id: words for plan in plans.values() for id, words in plan.labels.items()},
        "trajectories": joined(plans.values()),
    }


def _changed(file: Path, config: Path, changes: Sequence[str]) -> Plan:
    plan = load_plan(file, config, changes)
    name = changed_name(plan.experiment, changes)
    return replace(plan, experiment=name, membership={name: plan.membership[plan.experiment]})


def _load_plans(
    wanted: str, asked: Collection[str], config: Path, problems: dict[str, str]
) -> tuple[dict[str, Plan], str, dict[str, Path]]:
    """Return the valid plans, the name of the wanted one, and the file of each.

    Mistakes are added to `problems`. Of the package's experiments those that were asked for before
    are read.
    """
    own = sorted((config / "experiment").glob("*.yaml"))
    known = files_of(config, "experiment")
    listed = [*own, *(known[name] for name in sorted(known.keys() & {*asked}))]
    files = {file.resolve(): file for file in listed}
    chosen, selected = Path(), wanted
    try:
        chosen = resolve_experiment(wanted, config)
        chosen = files.setdefault(chosen.resolve(), chosen)
        selected = chosen.stem
    except ConfigError as error:
        problems[wanted] = str(error)
    plans: dict[str, Plan] = {}
    named: dict[str, Path] = {}
    for file in files.values():
        try:
            plan = load_plan(file, config)
            if plan.experiment in plans and file not in (*own, chosen):
                continue
            if plan.experiment in plans and file != chosen:
                place = Place(display(file), "experiment")
                raise place.error("two files have this name", "rename one", plan.experiment)
        except ConfigError as error:
            problems[file.stem] = str(error)
            continue
        plans[plan.experiment], named[plan.experiment] = plan, file.absolute()
        if file == chosen:
            selected = plan.experiment
    return plans, selected, named
