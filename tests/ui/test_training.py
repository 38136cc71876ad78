"""A training in the browser, with real numerics: launched, plotted, its curve in the gallery."""

import pytest
import yaml

from tests.ui.test_clicks import answers, edit_launchpad, made, reload_until
from tests.webserver import wait_for

pytestmark = pytest.mark.ui

STEPS = [0, 2, 5, 20, 60, 200]
EXPERIMENT = {
    "experiment": "along",
    "targets": [
        {
            "model": {"widths": [2], "activation": "tanh"},
            "data": {"n_data": 100, "n_test": 50},
            "training": {"steps": STEPS[-1], "batch_size": 20},
            "checkpoints": {"at": STEPS},
        }
    ],
    "samplers": [{"name": "mala", "overrides": {"n_draws": 150, "n_burn": 50, "n_warmup": 60}}],
    "posterior": {"gamma": 10.0, "loss": "self_labelled"},
}


def test_a_training_is_launched_watched_and_opened(page, ui, shot):
    wait_for(lambda: answers(page, ui), "the web server")
    file = ui.root / "config" / "experiment" / "along.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    training, targets, runs = planned(ui)
    page.goto(f"{ui.url}/locations/lambda_hat_assets/jobs/llc/playground")
    edit_launchpad(page, "along")
    page.get_by_role("button", name="Launch Run").click()
    wait_for(lambda: training in made(ui, "trajectories"), "the training")
    wait_for(lambda: {*runs} & {*made(ui, "analyses")}, "the first checkpoint")
    reload_until(page, ui, ["targets"], {*targets})
    watch_the_curve_grow(page, ui, training)
    wait_for(lambda: {*runs} <= {*made(ui, "analyses")}, "all checkpoints")
    wait_for((ui.home / "galleries" / "along" / "index.html").exists, "the gallery")
    look_at_the_plot(page, ui, runs, shot)
    look_at_the_training(page, ui, training, shot)
    look_at_the_gallery(page, ui, training, shot)


def planned(ui):
    """Return the training, its targets, and its runs by step."""
    from lambda_hat_core.plan.plan import load_plan

    plan = load_plan(ui.root / "config" / "experiment" / "along.yaml", ui.root / "config")
    (training,) = plan.trajectories
    by_step = sorted(plan.runs.values(), key=lambda run: plan.targets[run.target].step)
    return training, [*plan.targets], [run.id for run in by_step]


def watch_the_curve_grow(page, ui, training):
    """While checkpoints are being estimated, the training is in the graph and is made."""
    page.goto(f"{ui.url}/assets/trajectories?view=partitions&partition={training}")
    page.get_by_text("Materialized").first.wait_for()


def look_at_the_plot(page, ui, runs, shot):
    """The partitions, and with them the plot of the estimates, are in the order of the steps."""
    page.goto(f"{ui.url}/assets/analyses/mala?view=partitions")
    page.get_by_text(runs[0], exact=True).first.wait_for()
    listed = dict.fromkeys(page.get_by_text("run_mala_").all_inner_texts())
    assert [key for key in listed if key in runs] in (runs, runs[::-1])
    page.goto(f"{ui.url}/assets/analyses/mala")
    page.get_by_role("button", name="Plots").click()
    page.locator("canvas").first.wait_for()
    page.get_by_text("llc_se", exact=True).first.wait_for()
    shot(page, "7_plot_over_steps")


def look_at_the_training(page, ui, training, shot):
    """The curve is beside what the training was made of."""
    page.goto(f"{ui.url}/assets/trajectories?view=partitions&partition={training}")
    page.get_by_text("boundaries", exact=True).first.wait_for()
    row = page.locator("tr", has=page.get_by_text(f"{training}_curve1_1_log", exact=True))
    row.get_by_text("Show Markdown").first.click()
    figure = page.locator("img[src^='data:image/webp']").first
    figure.wait_for()
    assert figure.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    shot(page, "8_training")


def look_at_the_gallery(page, ui, training, shot):
    page.goto((ui.home / "galleries" / "along" / "index.html").as_uri())
    section = page.locator("section", has=page.locator(f"h2#{training}"))
    log, linear = (section.locator(f"[data-axis={axis}] img") for axis in ("log", "linear"))
    log.wait_for(state="visible")
    assert not linear.is_visible()
    section.get_by_label("linear steps").check()
    linear.wait_for(state="visible")
    assert not log.is_visible()
    shot(page, "9_curve", full_page=True)
    page.locator("#runs tbody td.sampler a").first.click()
    table = section.locator("details table")
    table.wait_for(state="visible")
    assert table.locator("tbody tr").count() == len(STEPS)
    cells = table.locator("tbody tr td:first-child").all_inner_texts()
    assert [int(cell) for cell in cells] == STEPS
    link = table.get_by_role("link", name="trace").first
    link.click()
    page.locator("img").wait_for()
    assert page.locator("img").evaluate("image => image.naturalWidth") > 100
