"""Converts results into the events of each partition: a materialisation and its checks."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from lambda_hat_assets.compute.orders import Result
from lambda_hat_assets.project.partitions import TARGETS_KEY, TRAJECTORIES_KEY
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording import checks
from lambda_hat_assets.recording.fields import ANALYSIS, RUN, TARGET, TRAJECTORY, Fields, pick
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Kind

_INLINE_WIDTH = 640
_INLINE_QUALITY = 40
"""Quality of inline figures. Dagster's event log contains each twice; each copy takes 0.04 MB."""

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation

_FIELDS: dict[Kind, Fields] = {
    "trajectories": TRAJECTORY,
    "targets": TARGET,
    "runs": RUN,
    "analyses": ANALYSIS,
}


def recorded(
    context: dg.AssetExecutionContext,
    project: Project,
    assets: Mapping[Kind, dg.AssetKey],
    results: Iterator[Result],
) -> Iterator[Event | dg.Output[None]]:
    """Yield the events of results as they arrive, and log one line per result.

    Args:
        context: the context of the step.
        project: the project, with specs and labels by id.
        assets: the asset of each kind of artifact.
        results: the results of `Compute.run`.

    Raises:
        dg.Failure: after the last result, if anything failed. Dagster does not retry it.
    """
    failed: dict[str, str] = {}
    for result in results:
        if result.failure is not None:
            failed[result.key] = result.failure
            context.log.error(f"{result.key} failed: {result.failure}")
            continue
        yield from events(project, assets[result.kind], result)
        if result.kind != "runs":
            context.log.info(f"{result.key}: {_line(result)}")
    if failed:
        lines = [f"{key} failed: {why}" for key, why in failed.items()]
        raise dg.Failure("; ".join(lines), metadata={"failed": failed}, allow_retries=False)
    for output in context.assets_def.check_specs_by_output_name:
        if output in context.op_execution_context.selected_output_names:
            yield dg.Output(None, output)


def events(project: Project, asset: dg.AssetKey, result: Result) -> Iterator[Event]:
    """Yield the materialisation of a partition, then its checks."""
    yield dg.AssetMaterialization(
        asset_key=asset,
        partition=result.key,
        description=project.labels[result.key],
        metadata=_metadata(project, result),
        tags=versions(result.key, _sources(project, asset, result)),
    )
    record = result.record
    found = [records.audited(record)] if result.kind == "targets" else record.get("checks", [])
    yield from checks.evaluations(asset, result.key, found)


def versions(id: str, sources: Mapping[dg.AssetKey, str]) -> dict[str, str]:
    """Return the tags by which Dagster recognises a partition as up to date.

    The id is the version of the data, because it is a hash that includes the ids of the sources.
    Dagster reads the version of a source only if there is also a pointer to an event of the source.
    Such an event may not exist, so the pointer is NULL.

    Args:
        id: the id of the partition.
        sources: the partition of each upstream asset that it was made from.
    """
    tags = {"dagster/data_version": id, "dagster/code_version": CODE_VERSION}
    for asset, source in sources.items():
        name = asset.to_user_string()
        tags[f"dagster/input_data_version/{name}"] = source
        tags[f"dagster/input_event_pointer/{name}"] = "NULL"
    return tags


def _sources(project: Project, asset: dg.AssetKey, result: Result) -> dict[dg.AssetKey, str]:
    if result.kind == "trajectories":
        return {}
    if result.kind == "targets":
        training = project.targets[result.key].trained_by
        return {} if training is None else {TRAJECTORIES_KEY: training.id}
    if result.kind == "analyses":
        return {dg.AssetKey(["runs", asset.path[-1]]): result.key}
    return {TARGETS_KEY: project.runs[result.key].target}


def _metadata(project: Project, result: Result) -> dict[str, Any]:
    key, record = result.key, result.record
    run = project.runs.get(key)
    target = project.targets.get(run.target if run else key)
    spec = run or target or project.trajectories[key].spec
    steps = record.get("steps") or [None]
    facts = {
        "step": target.step if target else None,
        "checkpoints": len(steps),
        "last_step": steps[-1],
        **record.get("info", {}),
        **record,
        "ess": record.get("ess_min"),
        "interval": _interval(record),
        "reasons": "; ".join(record.get("reasons") or ["none"]),
        "advice": "; ".join(record.get("advice") or []) or None,
        "notes": "; ".join(record.get("notes") or []) or None,
        "what": project.labels[key],
        "reused": result.reused,
    }
    folder = Path(record["path"])
    return {
        **pick(_FIELDS[result.kind], facts),
        "path": dg.MetadataValue.path(folder),
        "spec": dg.MetadataValue.json(spec.model_dump(mode="json")),
        **{Path(name).stem: picture(folder / "figures" / name) for name in record["figures"]},
    }


def _line(result: Result) -> str:
    record = result.record
    if result.kind == "trajectories":
        steps = record["steps"]
        return f"d = {record['d']}, kept at {len(steps)} steps up to {steps[-1]}"
    if result.kind == "targets":
        known = record.get("llc_known")
        exact = "" if known is None else f", llc {known:.4g} known"
        return f"d = {record['d']}, L(w*) = {record['loss0']:.4g}{exact}"
    if record.get("llc") is None:
        return f"failed: {'; '.join(record['reasons'])}"
    error = record["llc_se"]
    about = "" if error is None else f" +- {error:.2g}"
    pairs = zip(record["reasons"], record.get("advice", []), strict=False)
    why = "".join(f"; {reason}: set {advice}" for reason, advice in pairs)
    return f"llc {record['llc']:.4g}{about}, {record['verdict']}{why}"


def _interval(record: Mapping[str, Any]) -> str | None:
    low, high = record.get("llc_lo"), record.get("llc_hi")
    return None if low is None or high is None else f"[{low:.4g}, {high:.4g}]"


def picture(path: Path) -> dg.MetadataValue:
    """Return a figure for inline display, smaller than the one in the store."""
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        scale = min(1.0, _INLINE_WIDTH / width)
        size = (round(scale * width), round(scale * height))
        small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    content = io.BytesIO()
    small.save(content, "WEBP", quality=_INLINE_QUALITY, method=0)
    code = base64.b64encode(content.getvalue()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/webp;base64,{code})")
