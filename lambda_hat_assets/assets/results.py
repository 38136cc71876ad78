"""The table of all results, which SQL reads."""

from typing import Any

import dagster as dg

from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording.fields import ANALYSIS
from lambda_hat_core.analysis.words import many
from lambda_hat_core.store import records, sql

RESULTS_KEY = dg.AssetKey("llc_results")

_SHOWN = 200
_COLUMNS = (
    "experiment sampler llc llc_se llc_known llc_oracle verdict at_minimum work_fge wall_s run_id"
).split()
_TYPES = {
    "text": "string",
    "int": "int",
    "real": "float",
    "bool": "bool",
    "texts": "list",
    "time": "timestamp",
}


def results_asset(project: Project, upstream: list[dg.AssetKey]) -> dg.AssetsDefinition:
    """Return the asset that writes llc.duckdb again."""
    columns = [
        dg.TableColumn(
            name, type=_TYPES[kind], description=ANALYSIS[name][1] if name in ANALYSIS else None
        )
        for name, kind in records.SCHEMAS["llc"].items()
    ]

    @dg.asset(
        key=RESULTS_KEY,
        deps=upstream,
        group_name="results",
        kinds={"duckdb", "parquet"},
        code_version=CODE_VERSION,
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
    )
    def llc_results(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """Every result as SQL views over parquet files, in llc.duckdb."""
        path = sql.refresh(project.store)
        rows, counts = _read(project)
        return dg.MaterializeResult(
            metadata={
                "what": f"the view llc and those beside it: {many(sum(counts.values()), 'row')}",
                "path": dg.MetadataValue.path(path),
                **{f"verdict {verdict}": count for verdict, count in counts.items()},
                "newest": dg.MetadataValue.table([dg.TableRecord(row) for row in rows]),
            }
        )

    return llc_results


def _read(project: Project) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the newest rows of `llc`, and the number of rows with each verdict."""
    newest = sql.query(
        project.store,
        f"SELECT {', '.join(_COLUMNS)} FROM llc ORDER BY created_at DESC LIMIT {_SHOWN}",
    )
    counts = sql.query(project.store, "SELECT verdict, count(*) FROM llc GROUP BY verdict")
    return [dict(zip(_COLUMNS, row, strict=True)) for row in newest.rows], dict(counts.rows)
