"""A run has the same numbers in SQL, on the gallery page and in the UI."""

import json

import dagster as dg
import pytest

from tests.core.fake_numerics import FakeTargets, fake_expected, fake_sample
from tests.core.test_gallery import Page

COLUMNS = "llc llc_se llc_lo llc_hi llc_known llc_oracle v_m r_hat work_fge wall_s verdict".split()
"""Columns of SQL that page and UI show too."""


@pytest.fixture
def numerics(monkeypatch):
    """Fake targets and samplers in this process; everything else is real."""
    from lambda_hat_core import precision, sample, targets
    from lambda_hat_core.work import timing

    for name in ("build", "save", "load", "load_observed", "oracle"):
        monkeypatch.setattr(targets, name, getattr(FakeTargets, name))
    monkeypatch.setattr(sample, "sample", fake_sample)
    monkeypatch.setattr(timing, "expected", fake_expected)
    monkeypatch.setattr(precision, "require", lambda dtype: None)


class InProcess:
    """A backend with the real worker's answers, without its process."""

    def __init__(self, store):
        self.store = store

    def run(self, context, orders):
        from lambda_hat_assets.compute.orders import Result
        from lambda_hat_core.work import worker

        for order in orders:
            for kind, request in zip(order.kinds, order.requests(), strict=True):
                events = []
                line = json.dumps(request)
                worker.serve(self.store, line, events.append)
                end = events[-1]
                yield Result(order.key, kind, end.get("record", {}), failure=end.get("reason"))
                if end["event"] == "failed":
                    break

    def close(self):
        pass


@pytest.fixture
def done(site, numerics):
    """An experiment of four runs, made by the job; two of the runs have no number."""
    from lambda_hat_assets.compute.resource import Compute
    from lambda_hat_assets.definitions import build

    site.experiment(seeds=(1, 2, 13, 14))
    project = site.project()
    backend = InProcess(project.store)
    compute = Compute(project, lambda dtype, card: backend)
    job = build(project, compute).get_repository_def().get_job("llc")
    assert not job.execute_in_process(instance=site.instance, raise_on_error=False).success
    return project


def in_sql(project):
    from lambda_hat_core.store import sql

    with sql.connect(project.store) as connection:
        rows = connection.execute(f"SELECT run_id, {', '.join(COLUMNS)}, reasons FROM llc")
        return {
            run: dict(zip([*COLUMNS, "reasons"], rest, strict=True))
            for run, *rest in rows.fetchall()
        }


def on_page(project):
    path = project.store.path("galleries", "default") / "index.html"
    found = {}
    for run, cells in Page(path.read_text()).rows.items():
        shown = {name: cells.get(name, [{}])[0].get("data-sort") for name in COLUMNS}
        for name in ("llc_se", "llc_lo", "llc_hi"):
            shown[name] = cells["llc"][0].get(f"data-{name}")
        verdict = shown.pop("verdict")
        numbers = {name: float(text) if text else None for name, text in shown.items()}
        found[run] = numbers | {"verdict": verdict, "text": cells["verdict"][1]}
    return found


def in_ui(project, instance):
    records = instance.fetch_materializations(dg.AssetKey(["analyses", "nuts"]), limit=100).records
    return {
        record.partition_key: {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in records
    }


def test_every_run_has_the_same_numbers_everywhere(site, done):
    table, page, ui = in_sql(done), on_page(done), in_ui(done, site.instance)
    assert set(table) == set(page) == set(done.runs)
    seeds = {done.runs[run].seed for run in ui}
    assert seeds == {1, 2, 13}
    for run, row in table.items():
        for name in COLUMNS:
            assert page[run][name] == row[name], (run, name)
            if run in ui and name not in ("llc_lo", "llc_hi"):
                assert ui[run].get(name) == row[name], (run, name)
        for reason in row["reasons"]:
            assert reason in page[run]["text"]
        if run in ui:
            assert ui[run]["reasons"] == ("; ".join(row["reasons"]) or "none")
    verdicts = {done.runs[run].seed: row["verdict"] for run, row in table.items()}
    assert verdicts[13] == verdicts[14] == "failed" and "failed" not in (verdicts[1], verdicts[2])
