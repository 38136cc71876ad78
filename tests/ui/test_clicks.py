"""A person's clicks in the Dagster UI, with real numerics: materialise, backfill, results."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
import yaml

from tests.webserver import ROOT, served, wait_for

pytestmark = pytest.mark.ui

EXPERIMENT = {
    "experiment": "tiny",
    "targets": [
        {"model": {"kind": "quadratic", "d": 2}, "data": {"n_data": 1000}, "seed": seed}
        for seed in range(3)
    ],
    "samplers": [{"name": "mala", "overrides": {"n_draws": 150, "n_burn": 50, "n_warmup": 60}}],
    "posterior": {"gamma": 10.0},
}
_STATS = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
... on AssetNode { partitionStats { numMaterialized numFailed } } } }"""


class Ui(NamedTuple):
    """A running `dagster dev`."""

    root: Path
    url: str

    @property
    def home(self):
        return self.root / "runs"


@contextmanager
def running(root, experiment):
    """Serve a project that has this experiment and the local card."""
    name = experiment["experiment"]
    (root / "config" / "experiment").mkdir(parents=True)
    (root / "config" / "experiment" / f"{name}.yaml").write_text(yaml.safe_dump(experiment))
    (root / "config" / "card").mkdir()
    shutil.copy(ROOT / "config" / "card" / "local.yaml", root / "config" / "card")
    env = {"LAMBDA_HAT_HOME": str(root / "runs"), "LAMBDA_HAT_EXPERIMENT": name}
    with served(root, env | {"PYTHONPATH": str(ROOT)}) as url:
        yield Ui(root, url)


def answers(page, ui):
    from playwright.sync_api import Error

    try:
        return page.request.get(ui.url).ok
    except Error:
        return False


def materialised(page, ui, *path):
    """Return how many partitions of an asset the UI shows as made; none may have failed."""
    body = {"query": _STATS, "variables": {"path": path}}
    answer = page.request.post(f"{ui.url}/graphql", data=body).json()
    stats = answer["data"]["assetNodeOrError"]["partitionStats"]
    assert stats["numFailed"] == 0, path
    return stats["numMaterialized"]


def dialog(page, button):
    page.get_by_role("button", name=button).first.click()
    return page.get_by_role("button", name=re.compile("^Launch"))


def launch_one(page, button, key):
    """Materialise one partition by clicking."""
    launch = dialog(page, button)
    page.get_by_text("Select a partition").click()
    page.get_by_text(key, exact=True).locator("visible=true").first.click()
    page.keyboard.press("Escape")
    launch.click()
    launch.wait_for(state="hidden")


def launch_missing(page, button):
    """Launch a backfill of the missing partitions by clicking."""
    launch = dialog(page, button)
    page.get_by_role("button", name="Missing", exact=True).click()
    launch.click()
    launch.wait_for(state="hidden")


def made(ui, kind):
    return sorted(path.name for path in (ui.home / kind).glob("[!._]*"))


def test_everything_by_clicking(page, ui, shot):
    wait_for(lambda: answers(page, ui), "the web server")
    look_at_the_graph(page, ui, shot, "1_graph")
    target, run = planned(ui)
    targets, mala = f"{ui.url}/assets/targets", f"{ui.url}/locations/lambda_hat_assets/jobs/mala"

    page.goto(targets)
    launch_one(page, "Materialize…", target)
    wait_for(lambda: materialised(page, ui, "targets") == 1, "the first target")
    assert made(ui, "targets") == [target]
    page.goto(mala)
    launch_one(page, "Materialize all…", run)
    page.goto(targets)
    launch_missing(page, "Materialize…")
    wait_for(lambda: materialised(page, ui, "analyses", "mala") == 1, "the first analysis")
    assert made(ui, "analyses") == [run]
    wait_for(lambda: materialised(page, ui, "targets") == 3, "the other targets")

    page.goto(mala)
    launch_missing(page, "Materialize all…")
    look_at_an_analysis(page, ui, run, shot)
    wait_for(lambda: materialised(page, ui, "analyses", "mala") == 3, "the other analyses")
    assert materialised(page, ui, "runs", "mala") == 3
    look_at_the_plots(page, ui, shot)

    page.goto(f"{ui.url}/assets/galleries")
    launch_one(page, "Materialize…", "tiny")
    wait_for(lambda: materialised(page, ui, "galleries") == 1, "the gallery")
    page.goto(f"{ui.url}/assets/llc_results")
    page.get_by_role("button", name="Materialize").first.click()
    wait_for((ui.home / "llc.duckdb").exists, "the table")
    look_at_the_graph(page, ui, shot, "5_all_green")
    look_at_the_gallery(page, ui, shot)


def test_an_experiment_with_an_override_is_launched_and_found_by_words(page, ui, shot):
    wait_for(lambda: answers(page, ui), "the web server")
    page.goto(f"{ui.url}/locations/lambda_hat_assets/jobs/llc/playground")
    text = edit_launchpad(page, "tiny", "posterior.gamma=5")
    assert "experiment: tiny" in text and "set: []" in text
    shot(page, "7_launchpad")
    page.get_by_role("button", name="Launch Run").click()
    name = "tiny_posterior.gamma=5"
    wait_for((ui.home / "galleries" / name / "index.html").exists, "the gallery")
    wait_for(lambda: status(page, ui) == "SUCCESS", "the end of the run")

    page.goto(f"{ui.url}/runs?q[0]=tag%3Alambda_hat%2Fexperiment%3D{quote(name)}")
    page.get_by_text(f"lambda_hat/experiment: {name}").first.wait_for()
    assert page.get_by_text("lambda_hat/process").count() == 0
    shot(page, "8_runs_by_words")
    reload_until(page, ui, ["galleries"], {name})
    page.goto(f"{ui.url}/assets/experiments?view=partitions&partition={quote(name)}")
    page.get_by_text("Show Markdown").first.click()
    shot(page, "9_members")
    link = page.locator("a", has_text="run_mala_").first
    run = link.inner_text()
    link.click()
    page.get_by_text("on quadratic d = 2").first.wait_for()
    assert f"partition={run}" in page.url
    for path in (["targets"], ["runs", "mala"], ["analyses", "mala"], ["galleries"]):
        made, wanted = counts(page, ui, path)
        assert made == wanted > 0, path
    look_at_the_graph(page, ui, shot, "10_all_green")


def edit_launchpad(page, experiment, overrides=""):
    """Set both in the launchpad, which keeps what was launched last; return what it was."""
    editor = page.locator(".CodeMirror").first
    editor.get_by_text("overrides").wait_for()
    text = editor.evaluate("editor => editor.CodeMirror.getValue()")
    changed = re.sub(r"experiment: \w+", f"experiment: {experiment}", text)
    changed = re.sub(r"overrides: \[[^\]]*\]", f"overrides: [{overrides}]", changed)
    assert changed != text
    editor.evaluate("(editor, text) => editor.CodeMirror.setValue(text)", changed)
    return text


def asked(page, ui, query, **variables):
    body = {"query": query, "variables": variables}
    return page.request.post(f"{ui.url}/graphql", data=body).json()["data"]


def status(page, ui):
    """Return the status of the newest run of llc."""
    query = """{ runsOrError(filter: {pipelineName: "llc"}, limit: 1) {
        ... on Runs { results { status } } } }"""
    return asked(page, ui, query)["runsOrError"]["results"][0]["status"]


def counts(page, ui, path):
    """Return how many partitions of an asset are made, and how many the graph has."""
    query = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
        ... on AssetNode { partitionStats { numMaterialized numPartitions } } } }"""
    found = asked(page, ui, query, path=path)["assetNodeOrError"]["partitionStats"]
    return found["numMaterialized"], found["numPartitions"]


def reload_until(page, ui, path, keys):
    """Click, and wait until an asset has these partitions."""
    query = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
        ... on AssetNode { partitionKeys } } }"""
    page.goto(f"{ui.url}/asset-groups")
    page.get_by_role("button", name="Reload definitions").first.click()

    def known():
        return keys <= {*asked(page, ui, query, path=path)["assetNodeOrError"]["partitionKeys"]}

    wait_for(known, "the new partitions")


def planned(ui):
    """Return the first target and its run."""
    from lambda_hat_core.plan.plan import load_plan

    plan = load_plan(ui.root / "config" / "experiment" / "tiny.yaml", ui.root / "config")
    run = next(iter(plan.runs))
    return plan.runs[run].target, run


def look_at_the_graph(page, ui, shot, name):
    page.goto(f"{ui.url}/asset-groups")
    for group in ("targets", "mala", "results"):
        page.get_by_text(group, exact=True).locator("visible=true").first.wait_for()
    page.get_by_text("fetching statuses").first.wait_for(state="hidden")
    shot(page, name)


def look_at_an_analysis(page, ui, run, shot):
    page.goto(f"{ui.url}/assets/analyses/mala?view=partitions&partition={run}")
    page.get_by_text("r_hat", exact=True).first.wait_for()
    shot(page, "2_analysis")
    row = page.locator("tr", has=page.get_by_text("trace", exact=True))
    row.get_by_text("Show Markdown").click()
    figure = page.locator("img[src^='data:image/webp']").first
    figure.wait_for()
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    shot(page, "3_figure")


def look_at_the_plots(page, ui, shot):
    page.goto(f"{ui.url}/assets/analyses/mala")
    page.get_by_role("button", name="Plots").click()
    page.locator("canvas").first.wait_for()
    page.get_by_text("llc_se", exact=True).first.wait_for()
    shot(page, "4_plots")


def look_at_the_gallery(page, ui, shot):
    page.goto((ui.home / "galleries" / "tiny" / "index.html").as_uri())
    page.get_by_role("button", name="LLC ± se").click()
    cells = page.locator("#runs tbody td.llc")
    values = cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.sort))")
    assert len(values) == 3 and values == sorted(values)
    shot(page, "6_gallery", full_page=True)
