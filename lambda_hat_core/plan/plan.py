"""The plan: every training, target and run of an experiment, by id."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rfc8785

from lambda_hat_core.config.errors import Place, Problems, display
from lambda_hat_core.config.experiment import ExperimentFile, Profiles
from lambda_hat_core.config.lengths import read_rule
from lambda_hat_core.config.observables import read_observables
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import RunSpec, TargetSpec, Trajectory, TrajectorySpec
from lambda_hat_core.plan import overrides
from lambda_hat_core.plan.checkpoints import read_hold
from lambda_hat_core.plan.labels import run_label, target_label
from lambda_hat_core.plan.layers import restrictions
from lambda_hat_core.plan.losses import run_posterior
from lambda_hat_core.plan.observables import check_observables
from lambda_hat_core.plan.posteriors import experiment_posterior
from lambda_hat_core.plan.profiles import (
    check_has_step,
    on_posterior,
    read_profiles,
    read_samplers,
)
from lambda_hat_core.plan.read import Presets, files_of, name_of, read_mapping, resolve_experiment
from lambda_hat_core.plan.samplers import SamplerDraft, sampler_on
from lambda_hat_core.plan.targets import Draft, read_target


@dataclass(frozen=True)
class Plan:
    """Targets and runs by id.

    Attributes:
        experiment: the name of the experiment; in a union, the name of the selected one.
        targets: the targets by id.
        runs: the runs by id; `run.target` is a key of `targets`.
        labels: the human-readable label of each target and run.
        membership: the run ids of each experiment, in the order of its file.
        trajectories: the trainings whose checkpoints are among the targets, by id.
    """

    experiment: str
    targets: dict[str, TargetSpec] = field(default_factory=dict)
    runs: dict[str, RunSpec] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    membership: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trajectories: dict[str, Trajectory] = field(default_factory=dict)


def load_plan(experiment: str | Path, config_dir: Path, words: Sequence[str] = ()) -> Plan:
    """Return the plan of one experiment, given by name or by path.

    Args:
        experiment: its name in `config_dir`/experiment or in the package, or a path.
        config_dir: the folder that holds experiments and presets.
        words: `key=value` changes to the file, as `overrides.apply` reads them.

    Raises:
        ConfigError: naming every mistake of its file.
    """
    return _plan(resolve_experiment(experiment, config_dir), Presets(config_dir), words)


def load_union(config_dir: Path, selected: str | Path) -> Plan:
    """Return the union of the selected experiment, those of `config_dir` and those of the package.

    A selected file outside the folder replaces the file in the folder that has the same name, as
    one of the folder replaces one of the package.

    Raises:
        ConfigError: naming every mistake of every file, or two files with the same name.
    """
    presets = Presets(config_dir)
    chosen = resolve_experiment(selected, config_dir)
    own = sorted((config_dir / "experiment").glob("*.yaml"))
    shipped = [file for file in files_of(config_dir, "experiment").values() if file not in own]
    problems = Problems()
    plans: list[Plan] = []
    with problems:
        plans.append(_plan(chosen, presets))
    named: dict[str, Path] = {}
    for file in (*own, *shipped):
        with problems:
            plan = plans[0] if plans and file.samefile(chosen) else _plan(file, presets)
            if plan.experiment in named and file in shipped:
                continue
            if plan.experiment in named:
                place = Place(display(file), "experiment")
                rule = f"{display(named[plan.experiment])} has this name too"
                raise place.error(rule, "rename one", plan.experiment)
            named[plan.experiment] = file
            plans.append(plan)
    problems.raise_any()
    return _union(plans)


def _union(plans: list[Plan]) -> Plan:
    """Return the union; if two plans share a name or an id, the entry of the first plan is kept."""
    out = Plan(plans[0].experiment)
    for plan in reversed(plans):
        out.targets.update(plan.targets)
        out.runs.update(plan.runs)
        out.labels.update(plan.labels)
        out.membership.update(plan.membership)
    out.trajectories.update(joined(plans))
    return out


def joined(plans: Iterable[Plan]) -> dict[str, Trajectory]:
    """Return the trainings of some plans, each with the steps that any of them asks for."""
    specs: dict[str, TrajectorySpec] = {}
    steps: dict[str, set[int]] = {}
    for plan in plans:
        for id, found in plan.trajectories.items():
            specs.setdefault(id, found.spec)
            steps.setdefault(id, set()).update(found.steps)
    return {id: Trajectory(spec=spec, steps=tuple(sorted(steps[id]))) for id, spec in specs.items()}


def _plan(file: Path, presets: Presets, words: Sequence[str] = ()) -> Plan:
    place = Place(display(file))
    content = overrides.apply(read_mapping(file), words)
    problems = Problems()
    with problems:
        validate(inline("experiment", content, place), ExperimentFile)
    posterior = Section("posterior", {}, {}, place.key("posterior"))
    profiles = Profiles()
    with problems:
        profiles = read_profiles(content.get("profiles"), place.key("profiles"))
    if isinstance(values := content.get("posterior", {}), dict | None):
        with problems:
            values = on_posterior(values or {}, profiles, place.key("profiles"))
            posterior = experiment_posterior(values, place.key("posterior"))
    written = content.get("until", {})
    rule: Section | None = None
    if isinstance(written, dict):
        with problems:
            rule = read_rule(written, place.key("until"))
    hold = None
    with problems:
        hold = read_hold(content.get("hold"), place.key("hold"))
    observables, named = None, place.key("observables")
    with problems:
        observables = read_observables(content.get("observables"), named)
    drafts: list[Draft] = []
    for index, raw in _mappings(content.get("targets")):
        with problems:
            drafts.append(read_target(raw, place.key("targets").item(index), presets, posterior))
            check_observables(observables, drafts[-1].spec, named)
    chosen: list[SamplerDraft] = []
    for index, raw in _mappings(content.get("samplers")):
        with problems:
            at = place.key("samplers").item(index)
            chosen += read_samplers(raw, at, presets, posterior, profiles, rule=rule, hold=hold)
    if not problems.lines:
        with problems:
            check_has_step(profiles, chosen, place.key("profiles"))
        _holds_something(drafts, chosen, place)
    problems.raise_any()
    name = name_of(file, "experiment", content.get("experiment"))
    return _product(name, drafts, chosen, observables)


def _holds_something(
    drafts: Iterable[Draft], samplers: Iterable[SamplerDraft], place: Place
) -> None:
    """Refuse to hold settings where no target has checkpoints.

    Raises:
        ConfigError: if that is asked for.
    """
    held = [sampler for sampler in samplers if sampler.hold is not None]
    if held and not any(draft.targets[0].step is not None for draft in drafts):
        way_out = "write checkpoints for a target, or remove hold"
        raise place.key("hold").error("no target has checkpoints to hold settings at", way_out)


def _mappings(entries: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the well-formed entries of a list; the file's validation reports the others."""
    listed = entries if isinstance(entries, list) else []
    return [(index, entry) for index, entry in enumerate(listed) if isinstance(entry, dict)]


def _product(
    name: str,
    drafts: list[Draft],
    samplers: list[SamplerDraft],
    observables: tuple[str, ...] | None,
) -> Plan:
    plan = Plan(name)
    ids: dict[str, None] = {}
    problems = Problems()
    for draft in drafts:
        with problems:
            targets = {_id(spec, draft.place): spec for spec in draft.targets}
            plan.targets.update(targets)
            for id, spec in targets.items():
                plan.labels.setdefault(id, target_label(spec, draft.presets))
            _note_training(plan, draft)
            for sampler in samplers:
                with problems:
                    for run in _runs(sampler, draft, targets, observables):
                        run_id = _id(run, sampler.part.place)
                        plan.runs.setdefault(run_id, run)
                        plan.labels.setdefault(run_id, run_label(run, plan.labels[run.target]))
                        ids[run_id] = None
    problems.raise_any()
    plan.membership[name] = tuple(ids)
    return plan


def _note_training(plan: Plan, draft: Draft) -> None:
    """Add the training whose checkpoints an entry asks for, if it is one of ours."""
    spec = draft.targets[0].trained_by
    if spec is None:
        return
    before = plan.trajectories.get(spec.id)
    steps = {point.step for point in draft.targets if point.step is not None}
    steps.update(before.steps if before else ())
    plan.trajectories[spec.id] = Trajectory(spec=spec, steps=tuple(sorted(steps)))
    plan.labels.setdefault(spec.id, target_label(spec, draft.presets))


def _runs(
    sampler: SamplerDraft,
    draft: Draft,
    targets: Mapping[str, TargetSpec],
    observables: tuple[str, ...] | None,
) -> Iterator[RunSpec]:
    spec = sampler_on(sampler, draft.spec, draft.place)
    source = _held_from(sampler, draft, targets)
    for variant in sampler.variants:
        posterior = run_posterior(variant.spec, variant.part, draft.spec, draft.place)
        for restrict in restrictions(posterior.restrict, variant.part, draft.spec):
            for target in targets:
                yield RunSpec.model_validate(
                    {
                        "target": target,
                        "sampler": spec,
                        "posterior": posterior.model_copy(update={"restrict": restrict}),
                        "seed": sampler.seed,
                        "dtype": sampler.dtype,
                        "hold": None if target == source else source,
                        "observables": observables,
                    }
                )


def _held_from(
    sampler: SamplerDraft, draft: Draft, targets: Mapping[str, TargetSpec]
) -> str | None:
    """Return the checkpoint of an entry at which a sampler's settings are measured, or None.

    Raises:
        ConfigError: if there is no such checkpoint.
    """
    steps = {spec.step: id for id, spec in targets.items() if spec.step is not None}
    if sampler.hold is None or not steps:
        return None
    step = max(steps) if sampler.hold == "last" else sampler.hold
    if step not in steps:
        rule = f"{draft.place.path} has no checkpoint at step {step}, which settings are held from"
        raise draft.place.key("checkpoints").error(rule, f"hold one of {sorted(steps)}, or last")
    return steps[step]


def _id(spec: TargetSpec | RunSpec, place: Place) -> str:
    try:
        return spec.id
    except rfc8785.CanonicalizationError as error:
        raise place.error(f"cannot be hashed ({error})", "use integers below 2^53") from None
