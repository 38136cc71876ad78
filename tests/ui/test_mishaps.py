"""What goes on after the first run: a changed file, a live log, a cancelled run, a failing key."""

import re

import pytest
import yaml

from tests.ui.test_clicks import (
    answers,
    asked,
    dialog,
    launch_missing,
    launch_one,
    made,
    reload_until,
)
from tests.webserver import wait_for

pytestmark = pytest.mark.ui

FACTORY = """
import os

import jax.numpy as jnp

from lambda_hat_core import CustomTarget


def make_target(key):
    if not os.path.exists("mended"):
        raise ValueError("the weights are not there yet")
    return CustomTarget(jnp.zeros(2), lambda w, batch: jnp.sum(w**2), None, n=1000)
"""
MORE = [
    {"model": {"kind": "quadratic", "d": 2}, "data": {"n_data": 1000}, "seed": 3},
    {"model": {"kind": "custom", "factory": "mishap:make_target"}},
]
LONG = 3_000_000
"""Draws of a run that is still running when it is cancelled; its log has a line every 2 %."""
STUDY = {
    "tune": "tiny",
    "problems": [
        {
            "name": "quadratic",
            "model": {"kind": "quadratic", "d": 2},
            "data": {"n_data": 1000},
        }
    ],
    "methods": [{"name": "mala", "overrides": {"n_draws": 150, "n_burn": 50, "n_warmup": 60}}],
    "posterior": {"gamma": 10.0},
    "objective": {"type": "certificate"},
    "max_trials_per_method": 2,
    "seeds_per_trial": 1,
    "search_space": {"mala": {"target_acceptance": {"dist": "categorical", "choices": [0.5, 0.6]}}},
}
_STATE = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode { partitionStats { numMaterialized numFailed numPartitions } } } }"""
_SENSOR = """{ sensorOrError(sensorSelector: {sensorName: "config_changed",
    repositoryName: "__repository__", repositoryLocationName: "lambda_hat_assets"}) {
    ... on Sensor { sensorState { typeSpecificData {
        ... on SensorData { lastCursor } } } } } }"""
_NEWEST = """query ($job: String!) { runsOrError(filter: {pipelineName: $job}, limit: 1) {
    ... on Runs { results { runId status } } } }"""


def newest(page, ui, job):
    """Return the id and the status of the newest run of a job, or None."""
    runs = asked(page, ui, _NEWEST, job=job)["runsOrError"]["results"]
    return (runs[0]["runId"], runs[0]["status"]) if runs else None


def state(page, ui, *path):
    """Return how many partitions of an asset are made, failed and known."""
    found = asked(page, ui, _STATE, path=path)["assetNodeOrError"]["partitionStats"]
    return tuple(found[name] for name in ("numMaterialized", "numFailed", "numPartitions"))


@pytest.fixture(scope="module")
def edited(ui):
    """The experiment with a target that fails, one that does not, and a sampler that takes long."""
    from lambda_hat_core.plan.plan import load_plan

    file = ui.root / "config" / "experiment" / "tiny.yaml"
    before = file.read_text()
    content = yaml.safe_load(before)
    first = content["targets"][:1]
    lengths = content["samplers"][0]["overrides"] | {"n_draws": LONG}
    slow = {"name": "mala", "seed": 2, "overrides": lengths}
    (ui.root / "mishap.py").write_text(FACTORY)
    content |= {"targets": first + MORE, "samplers": [*content["samplers"], slow]}
    file.write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ui.root)
        plan = load_plan(file, ui.root / "config")
    long = {run.target: id for id, run in plan.runs.items() if run.sampler.n_draws == LONG}
    yield file, list(plan.targets), long
    file.write_text(before)


def test_a_changed_file_is_reloaded_and_its_partitions_are_run(page, ui, edited, shot):
    file, targets, long = edited
    wait_for(lambda: answers(page, ui), "the web server")
    # The quadratic target and its partition are kept, two targets are new.
    reload_until(page, ui, ["targets"], {*targets})
    watch_config(page, ui, shot)
    keep_going(page, ui, targets, shot)
    cancel(page, ui, targets[0], long[targets[0]], shot)
    change_once_more(page, ui, file, shot)


def watch_config(page, ui, shot):
    """The sensor is switched on by clicking."""
    page.goto(f"{ui.url}/locations/lambda_hat_assets/sensors/config_changed")
    switch = page.locator("label:has(input[type=checkbox])").first
    switch.click()
    page.wait_for_function("document.querySelector('label input[type=checkbox]').checked")
    shot(page, "11_sensor")


def keep_going(page, ui, targets, shot):
    """One failing key of a backfill does not stop the others, and is run again alone."""
    page.goto(f"{ui.url}/assets/targets")
    launch_missing(page, "Materialize…")
    others = len(targets) - 1
    wait_for(
        lambda: state(page, ui, "targets")[1] == 1 and {*targets[:-1]} <= {*made(ui, "targets")},
        "the backfill",
    )
    wait_for(lambda: state(page, ui, "targets")[0] >= others, "the other keys")
    before = state(page, ui, "targets")[0]
    times = {key: changed(ui, key) for key in targets[:-1]}
    page.goto(f"{ui.url}/assets/targets?view=partitions&partition={targets[-1]}")
    page.get_by_text(re.compile(r"\bfailed\b")).first.wait_for()
    shot(page, "12_failed_key")
    (ui.root / "mended").touch()
    page.goto(f"{ui.url}/assets/targets")
    launch = dialog(page, "Materialize…")
    page.get_by_role("button", name="Failed", exact=True).first.click()
    page.get_by_role("button", name="Launch 1 run", exact=True).wait_for()
    launch.click()
    launch.wait_for(state="hidden")
    wait_for(lambda: state(page, ui, "targets")[:2] == (before + 1, 0), "the key that failed")
    assert {key: changed(ui, key) for key in targets[:-1]} == times


def changed(ui, key):
    return (ui.home / "targets" / key / "manifest.json").stat().st_mtime_ns


def cancel(page, ui, target, run, shot):
    """A running partition shows its log, and leaves nothing in the store when it is cancelled."""
    page.goto(f"{ui.url}/locations/lambda_hat_assets/jobs/mala")
    launch_one(page, "Materialize all…", run)
    wait_for(lambda: (newest(page, ui, "mala") or ("", ""))[1] == "STARTED", "the run")
    id, _ = newest(page, ui, "mala")
    page.goto(f"{ui.url}/runs/{id}")
    page.get_by_text("draws/s").first.wait_for()
    shot(page, "13_live_log")
    assert newest(page, ui, "mala") == (id, "STARTED")
    page.get_by_role("button", name="Terminate").first.click()
    page.get_by_role("button", name="Terminate 1 run").click()
    wait_for(lambda: newest(page, ui, "mala") == (id, "CANCELED"), "the end of the run")
    assert run not in made(ui, "runs")
    shot(page, "14_cancelled")


def change_once_more(page, ui, file, shot):
    """The sensor runs the experiment after the file has changed."""
    before = newest(page, ui, "llc")
    wait_for(lambda: has_cursor(page, ui), "the first evaluation of the sensor")
    content = yaml.safe_load(file.read_text())
    content |= {"targets": content["targets"][:1], "samplers": content["samplers"][:1]}
    file.write_text(yaml.safe_dump(content))
    wait_for(lambda: newest(page, ui, "llc") != before, "the run of the sensor")
    wait_for(lambda: newest(page, ui, "llc")[1] == "SUCCESS", "its end")
    page.goto(f"{ui.url}/locations/lambda_hat_assets/sensors/config_changed")
    page.get_by_text("1 run requested").first.wait_for()
    shot(page, "15_sensor_has_run")
    page.locator("label:has(input[type=checkbox])").first.click()


def has_cursor(page, ui):
    found = asked(page, ui, _SENSOR)["sensorOrError"]["sensorState"]["typeSpecificData"]
    return found is not None and found["lastCursor"] is not None


def in_graph(page, ui, *path):
    """Return whether the definitions that are loaded have an asset."""
    query = """query ($path: [String!]!) {
        assetNodeOrError(assetKey: {path: $path}) { __typename } }"""
    return asked(page, ui, query, path=path)["assetNodeOrError"]["__typename"] == "AssetNode"


def test_a_study_is_launched_and_its_page_opened(page, ui, shot):
    wait_for(lambda: answers(page, ui), "the web server")
    (ui.root / "config" / "tune").mkdir()
    (ui.root / "config" / "tune" / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    page.goto(f"{ui.url}/locations/lambda_hat_assets/jobs/tune/playground")
    editor = page.locator(".CodeMirror").first
    editor.get_by_text("dry_run").wait_for()
    text = editor.evaluate("editor => editor.CodeMirror.getValue()")
    changed = re.sub(r"file: \S+", "file: tiny", text)
    editor.evaluate("(editor, text) => editor.CodeMirror.setValue(text)", changed)
    page.get_by_role("button", name="Launch Run").click()
    wait_for(lambda: (newest(page, ui, "tune") or ("", ""))[1] == "SUCCESS", "the study")
    page.goto(f"{ui.url}/asset-groups")
    page.get_by_role("button", name="Reload definitions").first.click()
    wait_for(lambda: in_graph(page, ui, "tuning", "study"), "the study in the graph")
    assert state(page, ui, "tuning", "study") == (1, 0, 1)
    (study,) = made(ui, "tuning")
    page.goto(f"{ui.url}/assets/tuning/study?view=partitions&partition={study}")
    page.get_by_text("mala on quadratic").first.wait_for()
    shot(page, "16_study")
    page.goto((ui.home / "galleries" / "tuning-tiny" / "index.html").as_uri())
    page.get_by_text("target_acceptance").first.wait_for()
    shot(page, "17_tuning_page", full_page=True)
