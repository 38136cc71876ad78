"""Refined values by component and means of observables in a gallery."""

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.gallery import observed
from lambda_hat_core.gallery.components import by_component, draw_components
from lambda_hat_core.gallery.members import Gallery, Member
from lambda_hat_core.gallery.rows import read_rows
from lambda_hat_core.gallery.series import At, Series
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store
from tests.core.fake_numerics import run, target
from tests.core.test_gallery import made_analysis, made_target

RESTRICTS = (None, ("first.*",), ("head[0]", "head[1]"))


def test_components_of_a_target_are_drawn_together(tmp_path):
    store = Store(tmp_path / "runs")
    made_target(store, target())
    specs = [
        run(1).model_copy(update={"posterior": PosteriorSpec(loss="own", restrict=restrict)})
        for restrict in RESTRICTS
    ]
    for spec in specs:
        made_analysis(store, spec)
    means = [
        {"run_id": specs[0].id, "name": name, "index": i, "at_minimum": 0.5, "mean": 0.5 + i}
        for name, i in [("loss", 0), *(("per_example", i) for i in range(40))]
    ]
    rest = {"se": 0.1, "r_hat": 1.01}
    path = store.path("analyses", specs[0].id) / "observables.parquet"
    records.write("observables", [one | rest for one in means], path)
    runs = {s.id: Member(target=target().id, sampler="sgld", label="sgld (own)") for s in specs}
    gallery = Gallery(experiment="exp", targets={target().id: "a target"}, runs=runs)
    rows = read_rows(store, gallery)
    (name,) = draw_components(store, target().id, "a target", rows, tmp_path)
    assert (tmp_path / name).stat().st_size > 1000
    assert draw_components(store, target().id, "a target", rows[:1], tmp_path) == []
    table = observed.table(rows[0].means)
    assert table.count("<tr>") == 1 + 24 and "of 41: observables.parquet has all" in table
    assert ">loss<" in table and "per_example[39]" in table and "per_example[3]" not in table
    assert rows[1].means == () and observed.table(()) == ""


def test_curves_of_components_share_a_posterior():
    def series(loss, gamma=1.0, setting="s"):
        return Series("trj", setting, "sghmc", At(10.0, gamma, loss), ())

    alone = series("mse", gamma=2.0)
    found = by_component([series("mse"), series("mse, only a + b"), series("mse, only c"), alone])
    assert [one.label for one in found] == ["all parameters", "a + b", "c"]
    assert {one.at for one in found} == {At(10.0, 1.0, "mse")}
    assert by_component([series("mse"), series("mse", setting="other")]) == []
