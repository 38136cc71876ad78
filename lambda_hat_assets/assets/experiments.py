"""Experiments: each partition lists its members in words, with their states, and links to them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import dagster as dg

from lambda_hat_assets.assets.galleries import of_experiments
from lambda_hat_assets.project.about import EXPERIMENT_TAG
from lambda_hat_assets.project.partitions import TARGETS_KEY, SamplerFamily, family_name
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording.fields import EXPERIMENT, pick, schema
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import failures, sql
from lambda_hat_core.store.store import Kind

EXPERIMENTS_KEY = dg.AssetKey("experiments")

_SHOWN = 500
_NUMBERS = "SELECT DISTINCT ON (run_id) run_id, llc, llc_se, verdict FROM llc WHERE run_id IN ({})"


class Member(NamedTuple):
    """A target or a run of an experiment: its state is made, failed or missing."""

    key: str
    asset: dg.AssetKey
    what: str
    state: str
    result: str


def experiments_asset(project: Project, families: Sequence[SamplerFamily]) -> dg.AssetsDefinition:
    """Return the asset of all experiments, each of which depends on its runs."""

    @dg.asset(
        key=EXPERIMENTS_KEY,
        partitions_def=dg.StaticPartitionsDefinition(list(project.plans)),
        deps=of_experiments(project, families),
        group_name="results",
        kinds={"duckdb"},
        code_version=CODE_VERSION,
        metadata=schema(EXPERIMENT),
    )
    def experiments(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The targets and runs of an experiment in words, with their states and links to them."""
        name = context.partition_key
        context.instance.add_run_tags(context.run.run_id, {EXPERIMENT_TAG: name})
        members = list(_members(project, project.plans[name]))
        return dg.MaterializeResult(metadata=_metadata(name, members))

    return experiments


def _members(project: Project, plan: Plan) -> list[Member]:
    """Return the targets of a plan, and below each its runs."""
    ids = ", ".join(f"'{id}'" for id in plan.runs) or "''"
    rows = sql.query(project.store, _NUMBERS.format(ids)).rows
    results = {run: _result(*numbers) for run, *numbers in rows}
    runs: dict[str, list[Member]] = {id: [] for id in plan.targets}
    for id, spec in plan.runs.items():
        asset = dg.AssetKey(["analyses", family_name(spec)])
        state = _state(project, "analyses", id)
        of_target = runs[spec.target]
        of_target.append(Member(id, asset, plan.labels[id], state, results.get(id, "")))
    found: list[Member] = []
    for id, below in runs.items():
        state = _state(project, "targets", id)
        found += [Member(id, TARGETS_KEY, plan.labels[id], state, ""), *below]
    return found


def _state(project: Project, kind: Kind, key: str) -> str:
    if project.store.is_complete(kind, key):
        return "made"
    reason = failures.read_failure(project.store, key)
    return "missing" if reason is None else f"failed: {reason}"


def _result(llc: float | None, se: float | None, verdict: str) -> str:
    about = "" if se is None else f" ± {se:.2g}"
    return verdict if llc is None else f"{llc:.4g}{about}, {verdict}"


def _metadata(name: str, members: Sequence[Member]) -> dict[str, Any]:
    states = Counter(member.state.partition(":")[0] for member in members)
    targets = sum(member.asset == TARGETS_KEY for member in members)
    counted = ", ".join(f"{count} {word}" for word, count in states.items())
    facts = {
        "what": f"{name}: {targets} targets and {len(members) - targets} runs; {counted}",
        "n_targets": targets,
        "n_runs": len(members) - targets,
        **{word: states[word] for word in ("made", "failed", "missing")},
    }
    return {**pick(EXPERIMENT, facts), "members": dg.MetadataValue.md(_table(members))}


def _table(members: Sequence[Member]) -> str:
    lines = ["| what | state | llc | partition |", "| --- | --- | --- | --- |"]
    for member in members[:_SHOWN]:
        place = f"/assets/{'/'.join(member.asset.path)}?view=partitions&partition={member.key}"
        cells = [member.what, member.state, member.result, f"[{member.key}]({place})"]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    if len(members) > _SHOWN:
        lines.append(f"\n{len(members) - _SHOWN} more: `lambda-hat plan --all` lists them.")
    return "\n".join(lines)
