"""Galleries: one page per experiment, which shows its runs side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.project.partitions import TRAJECTORIES_KEY, SamplerFamily, to_many
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording.events import picture
from lambda_hat_assets.recording.fields import GALLERY, pick, schema
from lambda_hat_assets.running.pools import Routing
from lambda_hat_core.analysis.words import many

GALLERIES_KEY = dg.AssetKey("galleries")

_SHOWN = 4
"""Number of comparisons, of profiles and of curves that are shown inline; the page has all."""


def galleries_asset(project: Project, families: Sequence[SamplerFamily]) -> dg.AssetsDefinition:
    """Return the asset of all galleries, each of which depends on the runs of its experiment."""
    routing = Routing("float64")

    @dg.asset(
        key=GALLERIES_KEY,
        partitions_def=dg.StaticPartitionsDefinition(list(project.plans)),
        deps=of_experiments(project, families),
        group_name="results",
        kinds={"html", "matplotlib"},
        code_version=CODE_VERSION,
        tags=routing.tags,
        op_tags=routing.tags,
        pool=routing.pool,
        metadata=schema(GALLERY),
    )
    def galleries(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> dg.MaterializeResult:
        """All runs of an experiment side by side, on a page that opens from disk."""
        (result,) = compute.run(context, ["galleries"], [context.partition_key])
        if result.failure is not None:
            raise dg.Failure(result.failure, allow_retries=False)
        if not result.reused:
            for curves in _of_trainings(project, result.record):
                context.log_event(curves)
        told = result.record | {"reused": result.reused}
        return dg.MaterializeResult(metadata=_metadata(context.partition_key, told))

    return galleries


def of_experiments(project: Project, families: Sequence[SamplerFamily]) -> list[dg.AssetDep]:
    """Return the dependence of each experiment on the analyses of its runs."""
    return [_dependence(project, family) for family in families]


def _dependence(project: Project, family: SamplerFamily) -> dg.AssetDep:
    pairs = [
        (run, name)
        for name, plan in project.plans.items()
        for run in family.runs
        if run in plan.runs
    ]
    return dg.AssetDep(family.analyses_key, partition_mapping=to_many(pairs))


def _metadata(name: str, record: dict[str, Any]) -> dict[str, Any]:
    counted = many(record["n_targets"], "target"), many(record["n_runs"], "run")
    what = f"{name}: {' and '.join(counted)} side by side"
    folder = Path(record["path"])
    page = folder / "index.html"
    counts = {f"verdict {verdict}": count for verdict, count in record["verdicts"].items()}
    pictures = {Path(name).stem: picture(folder / name) for name in record["forests"][:_SHOWN]}
    curves = record["profiles"][:_SHOWN]
    pictures |= {Path(c["figure"]).stem: picture(folder / c["figure"]) for c in curves}
    if record["profiles"]:
        pictures["profiles"] = dg.MetadataValue.md(
            "\n".join(f"- {curve['note']}" for curve in record["profiles"])
        )
    along = record["curves"]
    pictures |= {_stem(curve): picture(folder / curve["figure"]) for curve in along[:_SHOWN]}
    if along:
        pictures["curves"] = _listed(along)
    return {
        **pick(GALLERY, {"what": what} | record),
        **counts,
        "path": dg.MetadataValue.path(page),
        "runs": dg.MetadataValue.md(record["table"]),
        **pictures,
    }


def _of_trainings(project: Project, record: dict[str, Any]) -> Iterator[dg.AssetObservation]:
    """Yield for each training its curves, which are shown beside what it was made of."""
    folder = Path(record["path"])
    for id in dict.fromkeys(curve["training"] for curve in record["curves"]):
        if id not in project.trajectories:
            continue
        curves = [curve for curve in record["curves"] if curve["training"] == id]
        yield dg.AssetObservation(
            TRAJECTORIES_KEY,
            partition=id,
            description=f"the LLC along {project.labels[id]}",
            metadata={
                "experiment": record["id"],
                "gallery": dg.MetadataValue.path(folder / "index.html"),
                "boundaries": _listed(curves),
                **{_stem(curve): picture(folder / curve["figure"]) for curve in curves[:_SHOWN]},
            },
        )


def _stem(curve: dict[str, Any]) -> str:
    return Path(curve["figure"]).stem


def _listed(curves: Sequence[dict[str, Any]]) -> dg.MetadataValue:
    """Return the boundaries of curves, with the posterior where there are several."""
    notes = [(curve["words"], note) for curve in curves for note in curve["notes"]]
    return dg.MetadataValue.md("\n".join(f"- {', '.join(filter(None, pair))}" for pair in notes))
