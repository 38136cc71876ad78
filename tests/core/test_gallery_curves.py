"""The curves of a gallery: which runs belong to one, what the page shows, and how large it gets."""

import json

import pytest

from lambda_hat_core.gallery.members import gallery_of
from lambda_hat_core.gallery.rows import read_rows
from lambda_hat_core.gallery.series import distinct, series_of
from lambda_hat_core.store import records
from tests.core.plans import one
from tests.core.test_gallery import Page, png

MLP = (
    "{model: {widths: [3]}, data: {n_data: 40, n_test: 9}, training: {steps: 999}, seed: %d, "
    "checkpoints: {count: %d, spacing: log}}"
)
SGHMC = "{name: sghmc, until: {rel_se: 0.5}%s}"
FIGURES = ("trace", "rank")


def made(store, plan, *, without=()):
    """Write what a gallery reads of every target and run, with a peak at the tenth checkpoint."""
    for index, (id, spec) in enumerate(plan.targets.items()):
        meta = {"n": 40, "d": 19, "metric": index / 9, "metric_name": "metric", "step": spec.step}
        meta |= {"train_loss": 0.1, "test_loss": 0.2}
        with store.publish("targets", id, spec) as folder:
            (folder / "meta.json").write_text(json.dumps(meta))
    places = {id: index for index, id in enumerate(plan.targets)}
    for id, spec in plan.runs.items():
        if id in without:
            continue
        llc = 5.0 - 0.1 * (places[spec.target] - 9) ** 2
        row = records.run_row(spec) | {"llc": llc, "llc_se": 0.1, "llc_lo": llc, "llc_hi": llc}
        nbeta = spec.posterior.nbeta or 10.8
        row |= {"loss": "mse", "nbeta": nbeta, "gamma": spec.posterior.gamma, "advice": []}
        row |= {"verdict": "ok", "reasons": [], "notes": [], "at_minimum": False}
        row |= dict.fromkeys(["llc_known", "llc_oracle", "v_m", "r_hat", "ess_min"])
        row |= {"work_fge": 1.0, "wall_s": 1.0}
        with store.publish("analyses", id, spec) as folder:
            records.write("llc", [row], folder / "estimate.parquet")
            (folder / "estimate.json").write_text(json.dumps(row, default=str))
            (folder / "figures").mkdir()
            for name in FIGURES:
                (folder / "figures" / f"{name}.png").write_bytes(png())
    return gallery_of(plan)


@pytest.fixture
def store(tmp_path):
    from lambda_hat_core.store.store import Store

    return Store(tmp_path / "runs")


def drawn(store, gallery):
    from lambda_hat_core.work import making

    outcome = making.build_gallery(store, gallery, print)
    folder = store.path("galleries", gallery.id)
    text = (folder / "index.html").read_text()
    return outcome.record, folder, Page(text), text


def all_series(store, gallery):
    rows = read_rows(store, gallery)
    return [
        one
        for id, training in gallery.trainings.items()
        for one in series_of(
            store, id, training, [row for row in rows if row.member.target in training.steps]
        )
    ]


def test_a_curve_has_the_runs_of_one_sampler_at_one_posterior(store, plan_of):
    samplers = "{name: nuts}, {name: nuts, seed: 1}"
    plan = plan_of(one(MLP % (0, 12), samplers, "posterior: {nbeta: [10, 20]}"))
    gap = next(iter(plan.runs))
    found = all_series(store, made(store, plan, without=[gap]))
    assert [(s.label, s.at.nbeta) for s in found] == [
        ("nuts, float64, seed 0", 10.0),
        ("nuts, float64, seed 0", 20.0),
        ("nuts, float64, seed 1", 10.0),
        ("nuts, float64, seed 1", 20.0),
    ]
    steps = sorted(spec.step for spec in plan.targets.values())
    assert [[p.step for p in s.points] for s in found] == [steps[1:], steps, steps, steps]


def test_the_run_whose_settings_are_held_is_on_both_curves(store, plan_of):
    held, each = SGHMC % ", hold: {from: last}", SGHMC % ", hold: null"
    both = all_series(store, made(store, plan_of(one(MLP % (0, 6), f"{held}, {each}"))))
    assert [(s.label, len(s.points)) for s in both] == [
        ("sghmc, float32, seed 0, held", 6),
        ("sghmc, float32, seed 0", 6),
    ]
    assert both[0].points[-1] == both[1].points[-1]
    assert both[0].setting != both[1].setting


def test_a_curve_with_a_held_setting_alone_is_one_curve(store, plan_of):
    held = SGHMC % ", hold: {from: last}"
    (alone,) = all_series(store, made(store, plan_of(one(MLP % (0, 6), held))))
    assert len(alone.points) == 6 and alone.label.endswith("held")


def test_samplers_share_a_figure_and_posteriors_a_slider(store, plan_of):
    plan = plan_of(
        one(MLP % (0, 20), f"{{name: nuts}}, {SGHMC % ''}", "posterior: {nbeta: [10, 20]}")
    )
    gallery = made(store, plan)
    record, folder, page, text = drawn(store, gallery)
    (id,) = gallery.trainings
    curves = record["curves"]
    assert [curve["words"] for curve in curves] == ["nβ 10", "nβ 20"]
    assert {curve["training"] for curve in curves} == {id}
    assert all("maximum at step" in note for curve in curves for note in curve["notes"])
    assert [note.partition(":")[0] for note in curves[0]["notes"]] == [
        "nuts, float64",
        "sghmc, float32",
    ]
    assert page.tags.count("input") == 1 + 2 + 1, "the filter, two spacings and a slider"
    # Two spacings of the steps at two posteriors, and nothing that belongs to one checkpoint.
    assert len(page.images) == len([*(folder / "assets").iterdir()]) == 4
    assert f'href="#{id}"' in text and f'id="{id}"' in text
    for run in gallery.runs:
        assert text.count(f'id="{run}"') == 1
        for name in FIGURES:
            link = f"../../analyses/{run}/figures/{name}.png"
            assert f'href="{link}"' in text and (folder / link).exists()
    assert (folder / "gallery.md").read_text().count("![") == 2


def test_trainings_are_drawn_over_each_other(store, plan_of):
    plan = plan_of(one(", ".join(MLP % (seed, 8) for seed in (0, 1))))
    record, _, page, text = drawn(store, made(store, plan))
    assert sum("trainings_curve" in image for image in page.images) == 2
    assert 'id="all"' in text and len(record["curves"]) == 2
    assert "seed 0: " in text and "seed 1: " in text


def test_a_gallery_is_made_before_the_first_run(store, plan_of):
    plan = plan_of(one(MLP % (0, 5)))
    record, _, page, text = drawn(store, made(store, plan, without=plan.runs))
    assert record["curves"] == [] and page.images == []
    assert "5 runs: 5 not run" in text


def test_a_checkpoint_adds_little_to_the_page(store, plan_of):
    """500 checkpoints of two samplers have to stay below 5 MB."""
    count = 60
    _, folder, _, text = drawn(
        store, made(store, plan_of(one(MLP % (0, count), f"{{name: nuts}}, {SGHMC % ''}")))
    )
    assert len(text) / count < 4500
    assert sum(file.stat().st_size for file in (folder / "assets").iterdir()) < 500_000


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["net, seed 0"], ["net"]),
        (["net, seed 0", "net, seed 1"], ["seed 0", "seed 1"]),
        (["a, seed 0", "b, seed 0"], ["a", "b"]),
        (["net, seed 0", "net, seed 0"], ["net #1", "net #2"]),
        ([], []),
    ],
)
def test_labels_are_told_by_what_is_not_shared(labels, names):
    assert distinct(labels) == names
