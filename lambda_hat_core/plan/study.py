"""Turns a tuning file into problems and studies, by id."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import Place, Problems, display, suggest
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.study import (
    PARTS,
    PerExecutor,
    ProblemSpec,
    ReferenceEntry,
    SearchSampler,
    StudySpec,
    TuneFile,
)
from lambda_hat_core.plan.labels import target_label
from lambda_hat_core.plan.losses import run_posterior
from lambda_hat_core.plan.overrides import changed
from lambda_hat_core.plan.posteriors import experiment_posterior
from lambda_hat_core.plan.read import Presets, name_of, read_mapping, resolve
from lambda_hat_core.plan.samplers import SamplerDraft, read_fixed, sampler_on
from lambda_hat_core.plan.spaces import Space, read_space
from lambda_hat_core.plan.targets import Draft, read_target

VARIABLE = "LAMBDA_HAT_TUNE"


class TunedPosterior(NamedTuple):
    """A posterior to tune on.

    Attributes:
        name: the name used in tables and paths.
        spec: the hashed specification.
        target: the specification of its target.
        label: the human-readable label of the target.
    """

    name: str
    spec: ProblemSpec
    target: TargetSpec
    label: str


class Study(NamedTuple):
    """One method on one problem.

    Attributes:
        spec: the specification that determines its trials.
        problem: the id of its problem.
        method: the method's name in the file.
        preset: the method's settings as written, before the target's size is known.
    """

    spec: StudySpec
    problem: str
    method: str
    preset: Frozen


@dataclass(frozen=True)
class TunePlan:
    """Problems and studies by id.

    Attributes:
        name: the name of the tuning file.
        settings: the validated file, with every default filled in.
    """

    name: str
    settings: TuneFile
    problems: dict[str, TunedPosterior] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)

    def label(self, id: str) -> str:
        """Return a human-readable label of a problem or study."""
        if id in self.problems:
            return f"{self.problems[id].name}: {self.problems[id].label}"
        study = self.studies[id]
        return f"{study.method} on {self.problems[study.problem].name}"


class _Method(NamedTuple):
    name: str
    draft: SamplerDraft
    space: Space
    at: Place


def load_tuning(file: str | Path, config_dir: Path, words: Sequence[str] = ()) -> TunePlan:
    """Return the plan of a tuning file, given by name or by path.

    Args:
        file: its name under `config_dir`/tune, or a path.
        config_dir: the folder that holds tuning files and presets.
        words: `key=value` changes to the file, such as `objective.type=huber`.

    Raises:
        ConfigError: naming every mistake.
    """
    path = resolve(file, config_dir, "tune", "tuning plan", VARIABLE)
    place, presets = Place(display(path)), Presets(config_dir)
    content = changed(read_mapping(path), words)
    settings = _settings(content, place)
    problems = Problems()
    posterior = Section("posterior", {}, {}, place.key("posterior"))
    if settings.posterior:
        with problems:
            posterior = experiment_posterior(settings.posterior, place.key("posterior"))
            _single(posterior)
    drafts: list[tuple[str | None, Draft]] = []
    for index, raw in enumerate(settings.problems):
        with problems:
            drafts.append(_problem(raw, place.key("problems").item(index), presets, posterior))
    methods = _methods(settings, place, presets, posterior, problems)
    references: list[SamplerDraft] = []
    with problems:
        references.append(_reference(settings.reference, place, presets, posterior))
    problems.raise_any()
    plan = TunePlan(name_of(path, "tune", settings.tune), settings)
    _fill(plan, drafts, methods, references[0], place)
    return plan


def _settings(content: Mapping[str, Any], place: Place) -> TuneFile:
    """Validate part by part, so that each mistake is reported with its full key path."""
    problems = Problems()
    values: dict[str, Any] = dict(content)
    for name, model in PARTS.items():
        if name in values:
            with problems:
                values[name] = _part(values[name], place.key(name), name, model)
    with problems:
        whole = {key: value for key, value in values.items() if key not in PARTS}
        validate(inline("tuning", whole, place), TuneFile)
    problems.raise_any()
    return TuneFile.model_validate(values)


def _part(value: Any, place: Place, name: str, model: type[Frozen]) -> Frozen:
    if not isinstance(value, Mapping):
        keys = ", ".join(model.model_fields)
        raise place.error("must be a mapping", f"write {{{keys}}}", value)
    values = dict(value)
    if name == "concurrency" and isinstance(values.get("per_executor"), Mapping):
        part = inline("per_executor", values["per_executor"], place.key("per_executor"))
        values["per_executor"] = validate(part, PerExecutor)
    found = validate(inline(name, values, place), model)
    if isinstance(found, SearchSampler) and found.type == "gp" and not find_spec("torch"):
        rule = "Gaussian processes need torch, which is not installed"
        raise place.key("type").error(rule, "install torch, or write tpe", "gp")
    return found


def _single(posterior: Section) -> None:
    for key in ("gamma", "nbeta"):
        if isinstance(posterior.values.get(key), list):
            raise posterior.error(key, "a problem has one posterior", "write one value")


def _problem(
    raw: Mapping[str, Any], place: Place, presets: Presets, posterior: Section
) -> tuple[str | None, Draft]:
    values = dict(raw)
    name = values.pop("name", None)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name)):
        rule = "must be a name of letters, digits, '.', '_' and '-'"
        raise place.key("name").error(rule, "choose such a name", name)
    draft = read_target(values, place, presets, posterior)
    if draft.targets != (draft.spec,):
        raise place.error("a problem is one target, not a training's checkpoints", "remove them")
    return name, draft


def _methods(
    settings: TuneFile, place: Place, presets: Presets, posterior: Section, problems: Problems
) -> list[_Method]:
    found: list[_Method] = []
    names: list[str] = []
    spaces, at_space = settings.search_space, place.key("search_space")
    for index, raw in enumerate(settings.methods):
        at = place.key("methods").item(index)
        entry = {"name": raw} if isinstance(raw, str) else raw
        name = str(entry.get("name"))
        if name in names:
            problems.add(at.problem("this method is listed twice", "remove one", name))
            continue
        names.append(name)
        with problems:
            if "posterior" in entry:
                raise at.key("posterior").error("a problem has one posterior", "move it to the top")
            draft = read_fixed(entry, at, presets, posterior)
            if name not in spaces:
                raise at_space.error(f"no parameters of {name}", f"write {name}: {{...}}")
            base = draft.part._replace(
                values={"kind": draft.spec.model_dump()["kind"], **draft.part.values}
            )
            found.append(
                _Method(name, draft, read_space(spaces[name], base, at_space.key(name)), at)
            )
    for name in spaces:
        if name not in names:
            way_out = suggest(name, names)
            problems.add(at_space.key(name).problem("the file has no such method", way_out))
    return found


def _reference(
    entry: ReferenceEntry, place: Place, presets: Presets, posterior: Section
) -> SamplerDraft:
    at = place.key("reference")
    raw = {"name": entry.name, "overrides": entry.overrides, "seed": entry.seed}
    draft = read_fixed(raw | {"dtype": "float64"}, at, presets, posterior)
    kind = draft.spec.model_dump()["kind"]
    if kind not in ("nuts", "adjusted_mclmc"):
        rule = "a reference needs an exact sampler whose mixing can be certified"
        raise at.key("name").error(rule, "write nuts or adjusted_mclmc", entry.name)
    return draft


def _fill(
    plan: TunePlan,
    drafts: list[tuple[str | None, Draft]],
    methods: list[_Method],
    reference: SamplerDraft,
    place: Place,
) -> None:
    problems = Problems()
    for index, (name, draft) in enumerate(drafts):
        at = place.key("problems").item(index)
        with problems:
            problem = _resolved(name, draft, reference)
            if problem.name in {other.name for other in plan.problems.values()}:
                raise at.key("name").error("two problems have this name", "rename one", name)
            plan.problems[problem.spec.id] = problem
            for method in methods:
                with problems:
                    study = _study(plan.settings, problem, draft, method)
                    plan.studies[study.spec.id] = study
    problems.raise_any()


def _resolved(name: str | None, draft: Draft, reference: SamplerDraft) -> TunedPosterior:
    (variant,) = reference.variants
    spec = ProblemSpec.model_validate(
        {
            "target": draft.spec.id,
            "posterior": run_posterior(variant.spec, variant.part, draft.spec, draft.place),
            "reference": reference.spec,
            "seed": reference.seed,
        }
    )
    label = target_label(draft.spec, draft.presets)
    return TunedPosterior(name or draft.spec.id, spec, draft.spec, label)


def _study(settings: TuneFile, problem: TunedPosterior, draft: Draft, method: _Method) -> Study:
    spec = StudySpec.model_validate(
        {
            "target": problem.spec.target,
            "posterior": problem.spec.posterior,
            "reference": problem.spec.id if settings.objective.needs_reference else None,
            "method": sampler_on(method.draft, draft.spec, draft.place),
            "dtype": method.draft.dtype,
            "seed": method.draft.seed,
            "seeds_per_trial": settings.seeds_per_trial,
            "objective": settings.objective,
            "sampler": settings.sampler,
            "pruner": settings.pruner,
            "batch_size": settings.concurrency.batch_size,
            "search_space": method.space,
            "trial_sec": settings.budget.trial_sec,
        }
    )
    _fits(method, draft)
    return Study(spec, problem.spec.id, method.name, method.draft.spec)


def _fits(method: _Method, draft: Draft) -> None:
    """Refuse batches that are larger than the data of a problem."""
    searched: Any = method.space.get("batch_size")
    if searched is None or draft.spec.data.kind == "none":
        return
    sizes = getattr(searched, "choices", None) or (searched.high,)
    largest = max((size for size in sizes if size is not None), default=0)
    n = draft.spec.data.n_data
    if largest > n:
        place = method.at._replace(path=f"search_space.{method.name}.batch_size")
        rule = f"{draft.place.path} has n_data = {n}"
        raise place.error(rule, "keep batch_size <= n_data", largest)
