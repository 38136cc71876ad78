"""Every asset once with the real worker, as if clicked, on a target with three parameters."""

import os
import sys

import dagster as dg
import yaml


def execute(site, repository, job, key=None):
    result = repository.get_job(job).execute_in_process(
        instance=site.instance, partition_key=key, raise_on_error=False
    )
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    return result


def metadata(site, *path):
    event = site.instance.get_latest_materialization_event(dg.AssetKey(path))
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_the_ui_shows_the_numbers_that_were_computed(site, built_local):
    path = site.experiment()
    content = yaml.safe_load(path.read_text())
    until = {"rel_se": 1e-3, "max_draws": 80}
    sampler = {"name": "sgld", "dtype": "float64", "overrides": {"thin": 1}, "until": until}
    content["samplers"] = [sampler]
    path.write_text(yaml.safe_dump(content))
    cache = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    site.card(command=[sys.executable, "-m", "lambda_hat_core.work.worker"], env=cache)
    project = site.project()
    repository = built_local(project)
    (target,), (run,) = project.targets, project.runs

    execute(site, repository, "targets", target)
    shown = metadata(site, "targets")
    assert shown["llc_known"] == 1.5
    assert shown["is_minimum"] is True
    assert shown["reused"] is False
    assert "quadratic d = 3" in shown["what"]

    execute(site, repository, "sgld_float64", run)
    shown = metadata(site, "analyses", "sgld_float64")
    record = project.store.read_json("analyses", run, "estimate.json")
    for name in ("llc", "llc_se", "verdict", "r_hat", "v_m", "work_fge", "loss0", "n_draws"):
        assert shown[name] == record[name], name
    assert record["n_draws"] == 80 and record["stopped_by"] == "budget"
    assert "the budget of 80 draws per chain was spent" in shown["reasons"]
    for stage in ("runs", "analyses"):
        told = metadata(site, stage, "sgld_float64")
        assert (told["n_draws"], told["stopped_by"]) == (80, "budget")
    assert shown["ess"] == record["ess_min"]
    assert shown["interval"] == f"[{record['llc_lo']:.4g}, {record['llc_hi']:.4g}]"
    figures = ("trace", "rank", "llc_convergence_combined", "wnv")
    for name in figures:
        assert shown[name].startswith(f"![{name}](data:image/webp;base64,")
    assert sum(len(shown[name]) for name in figures) < 100_000
    event = site.instance.get_latest_materialization_event(dg.AssetKey(["runs", "sgld_float64"]))
    assert event.asset_materialization.tags["dagster/data_version"] == run

    log = site.instance.event_log_storage
    decided = {}
    for check in record["checks"]:
        key = dg.AssetCheckKey(dg.AssetKey(["analyses", "sgld_float64"]), check["name"])
        (found,) = log.get_asset_check_execution_history(key, limit=2)
        event = found.event.dagster_event
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            data = event.asset_check_evaluation_data
            assert data.partition == run
            assert data.passed == check["passed"]
            if check["threshold"] is not None:
                assert data.metadata["threshold"].value == check["threshold"]
            decided[check["name"]] = data.passed
    assert decided.keys() >= {"finite", "converged", "minimum", "interval_covers_known"}

    execute(site, repository, "sgld_float64", run)
    again = metadata(site, "analyses", "sgld_float64")
    assert again["reused"] is True
    assert again["made"] == shown["made"]
    assert again["llc"] == shown["llc"]

    execute(site, repository, "results")
    event = site.instance.get_latest_materialization_event(dg.AssetKey("llc_results"))
    (row,) = event.asset_materialization.metadata["newest"].records
    assert row.data["run_id"] == run
    assert row.data["llc"] == record["llc"]
