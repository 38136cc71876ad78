"""Figures: all cases are drawn legibly, in distinguishable colours, from any thread."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.core import traces

LONG = "nuts on tgt_0123456789ab: MLP 8-32-32-10, digits, cross_entropy, n = 1500, seed 42, " * 2


def cases():
    plain = traces.trace()
    broken, outlier = plain.loss.copy(), plain.loss.copy()
    broken[1, 40:] = np.nan
    outlier[2, 300] += 1e4
    return {
        "plain": plain,
        "one chain": traces.trace(n_chains=1),
        "ten draws": traces.trace(n_draws=10),
        "one draw": traces.trace(n_chains=1, n_draws=1),
        "no draws": traces.trace(n_draws=0, failure="the loss is not finite at draw 0 of chain 1"),
        "stopped": plain._replace(loss=broken, failure="the loss is not finite at draw 40"),
        "constant": plain._replace(loss=np.full_like(plain.loss, plain.loss0)),
        "outlier": plain._replace(loss=outlier),
        "many chains": traces.trace(n_chains=24, n_draws=800),
        "no energy": traces.trace(n_draws=20, stats={}),
        "replicas": traces.replicated(),
        "large": traces.trace(n_draws=50)._replace(nbeta=2e11),
    }


ONLY = {"energy": "energy", "tempering": "replica_loss"}
"""Figures that a run has only with a statistic."""


def drawn(trace, folder, **options):
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.analysis.figures.run import draw_figures

    folder.mkdir(exist_ok=True)
    return draw_figures(trace, estimate(trace, {}), folder, **{"title": "nuts", **options})


def has_colours(path, *, more_than):
    with Image.open(path) as image:
        return image.convert("RGB").getcolors(more_than) is None


def assert_legible(figure):
    """Check that all text is inside the figure, and that no tick labels overlap."""
    renderer, page = figure.canvas.get_renderer(), figure.bbox.padded(1.5)
    words = [*figure.texts]
    for axes in figure.axes:
        if not axes.axison:
            words += axes.texts
            continue
        words += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis, low, high in ((axes.xaxis, *axes.get_xlim()), (axes.yaxis, *axes.get_ylim())):
            ticks = [
                t for t in axis.get_major_ticks() if min(low, high) <= t.get_loc() <= max(low, high)
            ]
            labels = [t.label1 for t in ticks if t.label1.get_visible() and t.label1.get_text()]
            boxes = [label.get_window_extent(renderer) for label in labels]
            for first, second in itertools.pairwise(boxes):
                assert not first.overlaps(second), [label.get_text() for label in labels]
            words += labels
        if axes.get_legend():
            words += axes.get_legend().get_texts()
    for legend in figure.legends:
        words += legend.get_texts()
    for word in words:
        if word.get_text():
            box = word.get_window_extent(renderer)
            inside = page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)
            assert inside, (word.get_text(), box)


@pytest.mark.parametrize("name", list(cases()))
def test_every_case_is_drawn_legibly_and_small(name, tmp_path):
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.analysis.figures.run import FIGURES, run_figures
    from lambda_hat_core.analysis.figures.style import references, save

    trace = cases()[name]
    figures = run_figures(trace, estimate(trace, {}), LONG, references(5.0, 4.9))
    assert list(figures) == [
        kind for kind in FIGURES if kind not in ONLY or ONLY[kind] in trace.stats
    ]
    for kind, figure in figures.items():
        path = save(figure, tmp_path / f"{kind}.png")
        assert path.stat().st_size < 100_000, kind
        assert has_colours(path, more_than=8), kind
        assert_legible(figure)


def test_threads_draw_the_same_bytes(tmp_path):
    chosen = ["ten draws", "stopped", "one draw"]
    alone = {
        name: [path.read_bytes() for path in drawn(cases()[name], tmp_path / name)]
        for name in chosen
    }
    with ThreadPoolExecutor(3) as pool:
        made = pool.map(lambda name: drawn(cases()[name], tmp_path / f"{name} again"), chosen)
        for name, paths in zip(chosen, made, strict=True):
            assert [path.read_bytes() for path in paths] == alone[name]


def test_no_global_state_of_matplotlib_changes(tmp_path):
    import matplotlib
    from matplotlib._pylab_helpers import Gcf

    before, open_before = dict(matplotlib.rcParams), len(Gcf.figs)
    paths = drawn(traces.trace(n_draws=20), tmp_path, llc_known=5.0)
    assert next(path.name for path in paths) == "trace.png"
    assert dict(matplotlib.rcParams) == before
    assert len(Gcf.figs) == open_before


def test_the_running_estimate_ends_at_the_estimate():
    from lambda_hat_core.analysis.measure import measure
    from lambda_hat_core.analysis.running import running

    trace = traces.trace()
    run, estimate = running(trace), measure(trace)
    assert run.llc[-1] == pytest.approx(estimate.llc)
    assert run.se[-1] == pytest.approx(estimate.llc_se)
    assert (run.lo[-1], run.hi[-1]) == pytest.approx((estimate.llc_lo, estimate.llc_hi))
    np.testing.assert_allclose(run.chains[:, -1], trace.llc.mean(axis=1))
    assert run.fge[-1] == trace.cumulative_fge[-1]
    assert (np.diff(run.fge) > 0).all()


def test_the_running_estimate_stops_before_the_first_non_finite_draw():
    from lambda_hat_core.analysis.running import running

    run = running(cases()["stopped"])
    assert np.isfinite(run.llc).all()
    assert run.fge[-1] == traces.trace().cumulative_fge[39]


def curves_outside(figure):
    """Return the chains whose rank curve leaves the band in the first panel."""
    axes = figure.axes[0]
    band = axes.patches[0].get_bbox().y1
    lines = [line for line in axes.get_lines() if line.get_label().startswith("chain")]
    return [line.get_label() for line in lines if np.abs(line.get_ydata()).max() > band]


def test_the_rank_band_contains_exactly_the_chains_that_agree():
    from lambda_hat_core.analysis.figures.chains import rank_figure

    seeds = range(20)
    out = [curves_outside(rank_figure(traces.trace(seed, rho=0.0), "", "")) for seed in seeds]
    assert sum(map(len, out)) <= 0.1 * 4 * len(seeds) + 2 * np.sqrt(0.09 * 4 * len(seeds))
    trace = traces.trace(rho=0.0)
    loss = trace.loss.copy()
    loss[1] += 1 / trace.nbeta
    assert "chain 2" in curves_outside(rank_figure(trace._replace(loss=loss), "", ""))


def test_outliers_are_cut_off_and_counted():
    from lambda_hat_core.analysis.figures.chains import trace_figure

    axes = trace_figure(cases()["outlier"], "", "", []).axes[0]
    assert axes.get_ylim()[1] < 100
    assert any("outside" in text.get_text() for text in axes.texts)
    assert not trace_figure(cases()["plain"], "", "", []).axes[0].texts


def intervals(count):
    from lambda_hat_core.analysis.figures.forest import Interval
    from lambda_hat_core.config.samplers.known import SAMPLERS

    rng, runs = np.random.default_rng(0), []
    for index in range(count):
        sampler = list(SAMPLERS)[index % len(SAMPLERS)]
        llc, label = 5 + 0.1 * rng.normal(), f"{sampler} seed {index // len(SAMPLERS)}"
        if index % 11 == 10:
            runs.append(Interval(sampler, label, None, None, None, None, "failed"))
        else:
            far = 50.0 if index == 4 else 0.0
            verdict = "suspect" if far or index % 5 == 3 else "ok"
            runs.append(
                Interval(sampler, label, llc + far, 0.1, llc + far - 0.2, llc + far + 0.2, verdict)
            )
    return runs


def curves(count):
    from lambda_hat_core.analysis.figures.comparison import running_curve

    made = []
    for index, run in enumerate(intervals(count)):
        trace = traces.trace(index, n_draws=40, d=4)
        work = trace.cumulative_fge * (1 + index % 9)
        options = {"end": None if run.llc is None else (run.llc, run.lo, run.hi)}
        options["with_band"] = count <= 10
        made.append(running_curve(run.sampler, run.label, run.verdict, trace.llc, work, **options))
    return made


@pytest.mark.parametrize("count", [0, 1, 10, 40, 200])
def test_comparisons_stay_legible(count, tmp_path):
    from lambda_hat_core.analysis.figures.comparison import convergence_comparison
    from lambda_hat_core.analysis.figures.forest import forest_figure
    from lambda_hat_core.analysis.figures.style import references, save

    lines = references(5.0, 4.9)
    for figure in (
        forest_figure(intervals(count), LONG, "", lines),
        convergence_comparison(curves(count), LONG, "", lines),
    ):
        assert save(figure, tmp_path / "figure.png").stat().st_size < 100_000
        assert_legible(figure)
        assert figure.get_size_inches()[1] < 12


def test_a_forest_plot_shows_every_run_at_its_value():
    from lambda_hat_core.analysis.figures.forest import forest_figure

    runs = intervals(12)
    figure = forest_figure(runs, "", "", [])
    axes = figure.axes[0]
    points = {line.get_marker(): 0 for line in axes.get_lines()}
    for line in axes.get_lines():
        points[line.get_marker()] += len(line.get_xdata()) == 1
    assert (points[">"], points["X"], points["o"]) == (1, 1, 10)
    far = figure.axes[1]
    assert [line.get_marker() for line in far.get_lines() if len(line.get_xdata()) == 1] == ["o"]
    low, high = far.get_xlim()
    assert low < runs[4].lo < runs[4].hi < high
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [
        "nuts seed 0",
        "nuts seed 1",
    ]
    assert "1 on a scale of its own" in figure.texts[1].get_text()
    hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == sum(run.verdict == "suspect" for run in runs) - 1
    texts = {text.get_text() for text in figure.axes[1].texts}
    assert {"failed"} < texts
    assert any(text.startswith("54.") or text.startswith("55.") for text in texts)


def named(figure):
    """Return the words of all legends of a figure."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def test_only_one_colour_is_so_dark_that_a_thin_line_shows_no_hue():
    from lambda_hat_core.analysis.figures.style import PALETTE
    from tests.core.test_colours import lab, linear, srgb

    assert sum(lab(linear(srgb(*PALETTE)))[:, 0] < 30) == 1


def test_rows_of_a_forest_plot_are_in_the_order_of_their_numbers():
    from lambda_hat_core.analysis.figures.forest import Interval, by_number, forest_figure

    names = ["step 1e-05, nβ 30", "step 1e-05, nβ 100", "step 0.01", "step 2", "step 10.5 #1a2b"]
    runs = [Interval("sgld", name, 5.0, 0.1, 4.8, 5.2, "ok") for name in names]
    axes = forest_figure(runs[::-1], "", "", []).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert by_number("") == [("", 0.0)] and by_number("a1") < by_number("a1b") < by_number("a2")


def test_a_legend_lists_only_the_verdicts_that_occur_and_names_the_bands():
    from lambda_hat_core.analysis.figures.comparison import convergence_comparison
    from lambda_hat_core.analysis.figures.forest import forest_figure

    runs, drawn = intervals(12), curves(12)
    assert named(forest_figure(runs, "", "", [])) == ["ok", "suspect", "failed"]
    assert named(forest_figure(runs[:3], "", "", [])) == ["ok"]
    few = named(convergence_comparison(curves(3), "", "", []))
    assert few[3:] == ["90 % band", "ok", "set-up ends"]
    assert not any("band" in words for words in named(convergence_comparison(drawn, "", "", [])))
    assert "central 80 %" in named(convergence_comparison(curves(41), "", "", []))


def test_a_title_that_says_what_is_good_is_no_verdict():
    from lambda_hat_core.analysis.figures.convergence import convergence_figure, wnv_figure
    from lambda_hat_core.analysis.running import running

    run = running(traces.trace())
    title = convergence_figure(run, "", "", []).axes[0].get_title("left")
    assert title.startswith("what is good: ")
    assert "What is good: " in wnv_figure(run, "", "").texts[1].get_text()


def test_no_convergence_curve_is_cut_off_and_the_set_up_is_marked():
    from lambda_hat_core.analysis.figures.convergence import convergence_figure
    from lambda_hat_core.analysis.running import running

    wild = traces.trace(n_chains=12)
    wild = wild._replace(loss=wild.loss + np.exp(-np.arange(500.0)))
    run = running(wild)
    assert run.setup_fge == 40.0 and run.setup_seconds == pytest.approx(0.5)
    figure = convergence_figure(run, "", "", [])
    for axes in figure.axes:
        low, high = axes.get_ylim()
        drawn = [line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) > 2]
        assert len(drawn) == 9 and all(np.isfinite(values[-1]) for values in drawn)
        assert all(low <= y <= high for values in drawn for y in values[np.isfinite(values)])
        assert axes.get_ylabel() and axes.get_xlabel()
    assert figure.axes[0].patches[0].get_bbox().x1 == 40.0


def test_runs_that_end_outside_the_axis_of_a_comparison_are_named():
    from lambda_hat_core.analysis.figures.comparison import convergence_comparison

    drawn = curves(10)
    figure = convergence_comparison(drawn, "", "10 runs", [])
    assert f"outside the axis: {drawn[4].label} at 5" in figure.texts[1].get_text()
    low, high = figure.axes[0].get_ylim()
    for line in figure.axes[0].get_lines():
        values = np.asarray(line.get_ydata())
        if len(values) > 2:
            assert ((values >= low) & (values <= high) | np.isnan(values)).all()


def test_a_curve_is_the_running_mean():
    from lambda_hat_core.analysis.figures.comparison import running_curve

    trace = traces.trace()
    curve = running_curve("nuts", "a", "ok", trace.llc, trace.cumulative_fge)
    assert curve.llc[-1] == pytest.approx(trace.llc.mean())
    assert curve.llc[0] == pytest.approx(trace.llc[:, 0].mean())
    assert curve.fge[-1] == trace.cumulative_fge[-1]
    broken = trace.llc.copy()
    broken[0, 0] = np.inf
    assert running_curve("nuts", "a", "failed", broken, trace.cumulative_fge).fge.size == 0


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("beside", [True, False])
def test_curves_along_training_and_their_legends_are_legible(count, beside, tmp_path):
    from lambda_hat_core.analysis.curve import CurvePoint, llc_curve
    from lambda_hat_core.analysis.figures.curve import CurveSeries, along_figure
    from lambda_hat_core.analysis.figures.style import references, save

    steps = [0, *(10 * 2**i for i in range(9))]
    verdicts = ["ok", "suspect", "failed"]
    series = []
    for index in range(count):
        points = [
            CurvePoint(step, index + 5 * step / (step + 100), 0.2, verdicts[place % 3])
            for place, step in enumerate(steps)
        ]
        names = ("train loss", "test loss", "test accuracy")
        values = {name: (steps, [1 / (1 + step) for step in steps]) for name in names}
        label = f"sampler {index} on a training of a long name, float32"
        series.append(CurveSeries(label, llc_curve(points), values if beside and index < 2 else {}))
    figure = along_figure(series, LONG, lines=references(5.0, 4.9))
    assert save(figure, tmp_path / "figure.png").stat().st_size < 150_000
    assert_legible(figure)
    renderer = figure.canvas.get_renderer()
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    boxes = [legend.get_window_extent(renderer) for legend in legends]
    assert len(boxes) == 1 + beside
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    if beside:
        assert [text.get_text() for text in legends[-1].get_texts()] == [*names]
