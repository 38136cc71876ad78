"""Observables of a linear regression, whose means and covariances are known exactly."""

import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import estimate_llc
from lambda_hat_core.config.observables import parsed, written

ROWS, N, D = 20, 500, 10


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * np.linspace(0.5, 2.0, D)
    y = x @ rng.normal(size=D) + rng.normal(size=N)
    return x, y, np.linalg.lstsq(x, y)[0]


def loss(w, batch):
    return 0.5 * jnp.mean((batch["x"] @ w - batch["y"]) ** 2)


class Exact:
    """Means and covariances of 1/2 (x.w - y)^2 under N(w*, (nbeta H + gamma)^-1)."""

    def __init__(self, nbeta, gamma=1.0):
        self.x, self.y, self.w = regression()
        self.nbeta = nbeta
        self.s = np.linalg.inv(nbeta * self.x.T @ self.x / N + gamma * np.eye(D))

    def form(self, rows):
        """Return gradient and Hessian at w* of the mean loss of some rows."""
        x, y = self.x[rows], self.y[rows]
        return x.T @ (x @ self.w - y) / len(x), x.T @ x / len(x)

    def covariance(self, one, other):
        (g, h), (k, m) = one, other
        return g @ self.s @ k + 0.5 * np.trace(h @ self.s @ m @ self.s)

    def covariances(self, forms):
        return np.array([[self.covariance(a, b) for a in forms] for b in forms])

    def rise(self, form):
        return 0.5 * np.trace(form[1] @ self.s)


def run(sampler="nuts", **others):
    x, y, w = regression()
    data = {"x": x, "y": y}
    return estimate_llc(loss, w, data, sampler=sampler, progress=False, **others)


@pytest.fixture(scope="module")
def long():
    """Return 8,000 draws of all rows, a data set and a function."""
    from lambda_hat_core import Nuts

    x, y, _ = regression()
    found = run(
        Nuts(n_draws=2050, n_burn=50),
        observables=["per_example", "val", "val.per_example[0:3]", "first"],
        data_sets={"val": {"x": x[:50], "y": y[:50]}},
        functions={"first": lambda w: w[:2]},
    )
    return found, Exact(found.nbeta)


def test_means_have_the_exact_values(long):
    found, exact = long
    rows = {(row.name, row.index): row for row in found.observed.rows()}
    assert len(rows) == 1 + N + 1 + 3 + 2
    errors = []
    for i in range(N):
        row, form = rows["per_example", i], exact.form([i])
        assert row.at_minimum == pytest.approx(0.5 * (exact.x[i] @ exact.w - exact.y[i]) ** 2)
        errors.append((row.mean - row.at_minimum - exact.rise(form)) / row.se)
        assert row.r_hat < 1.02 and row.se < 0.05 * exact.rise(form) + 0.02
    assert max(map(abs, errors)) < 4.5 and 0.7 < np.std(errors) < 1.4
    assert rows["loss", 0].mean == pytest.approx(found.trace.loss.mean(), rel=1e-12)
    val = rows["val", 0]
    assert abs(val.mean - val.at_minimum - exact.rise(exact.form(range(50)))) < 4 * val.se
    assert val.se < 0.01
    first = rows["first", 1]
    assert first.at_minimum == exact.w[1] and abs(first.mean - exact.w[1]) < 4 * first.se


def test_covariances_of_twenty_rows_are_within_four_errors(long):
    found, exact = long
    truth = exact.covariances([exact.form([i]) for i in range(ROWS)])
    made = found.observed.covariance("per_example")
    value, se = (x[:ROWS, :ROWS] for x in (made.value, made.se))
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    assert np.all(np.abs(value - truth) < np.minimum(4 * se, 0.12 * scale))
    kernel = found.observed.kernel("per_example")
    errors = (kernel.value[:ROWS, :ROWS] - truth / scale)[np.triu_indices(ROWS, 1)]
    assert np.all(np.abs(errors) < 4 * kernel.se[:ROWS, :ROWS][np.triu_indices(ROWS, 1)] + 1e-12)
    assert np.allclose(np.diag(kernel.value), 1) and np.all(np.diag(kernel.se) < 1e-12)


def test_fluctuation_and_susceptibilities_are_within_two_percent(long):
    found, exact = long
    forms = [exact.form([i]) for i in range(N)]
    variances = sum(exact.covariance(form, form) for form in forms)
    nu = found.observed.nu()
    truth = 0.5 * found.nbeta / N * variances
    assert abs(nu.value - truth) < min(4 * nu.se, 0.02 * truth)
    val = exact.form(range(50))
    made = found.observed.susceptibility("val", to="val")
    truth = -found.nbeta * exact.covariance(val, val)
    assert abs(made.value[0, 0] - truth) < min(4 * made.se[0, 0], 0.03 * abs(truth))
    each = found.observed.susceptibility("per_example", to="val")
    truth = np.array([-found.nbeta * exact.covariance(form, val) for form in forms])
    assert np.linalg.norm(each.value[:, 0] - truth) < 0.07 * np.linalg.norm(truth)
    influence = found.observed.influence("per_example", of="loss")
    total = exact.form(range(N))
    truth = np.array([-exact.covariance(form, total) for form in forms])
    assert np.max(np.abs(influence.value[:, 0] - truth) / influence.se[:, 0]) < 5


def test_intervals_of_covariances_hold_them_in_nine_of_ten_cases():
    """Twenty runs, in each of which ten covariances of rows that no other run uses are looked at.

    Covariances of one run are correlated: they are functions of 55 moments.
    """
    from lambda_hat_core import Nuts

    held = []
    for seed in range(20):
        sampler = Nuts(n_draws=250, n_burn=50)
        rows = f"per_example[{20 * seed}:{20 * seed + 20}]"
        found = run(sampler, observables=[rows], seed=seed)
        exact, made = Exact(found.nbeta), found.observed.covariance("per_example")
        index = found.observed.index("per_example")
        assert index.tolist() == [*range(20 * seed, 20 * seed + 20)]
        for k in range(0, 20, 2):
            i, j = index[k : k + 2]
            truth = exact.covariance(exact.form([i]), exact.form([j]))
            held.append(abs(made.value[k, k + 1] - truth) <= made.half_width[k, k + 1])
    assert len(held) == 200 and 0.85 <= np.mean(held) <= 0.95


def test_without_the_loss_the_covariances_are_those_of_the_localiser():
    from lambda_hat_core import Nuts

    nuts = Nuts(n_draws=800, n_burn=100)
    found = run(nuts, posterior={"nbeta": 0, "gamma": 4.0}, observables="per_example[0:20]")
    assert found.llc == 0 and found.verdict == "ok", found
    exact = Exact(0.0, gamma=4.0)
    forms = [exact.form([i]) for i in range(ROWS)]
    truth, made = exact.covariances(forms), found.observed.covariance("per_example")
    assert np.all(np.abs(made.value - truth) < 4.5 * made.se)
    rises = np.array([row.mean - row.at_minimum for row in found.observed.rows()[1:]])
    ses = np.array([row.se for row in found.observed.rows()[1:]])
    assert np.all(np.abs(rises - [exact.rise(form) for form in forms]) < 4.5 * ses)
    assert found.observed.susceptibility("per_example", "loss").value == pytest.approx(0.0)


@pytest.mark.parametrize("sampler", ["sgld", "sghmc", "vi"])
def test_samplers_with_biases_that_are_taken_off_record_the_same(sampler):
    found = run(sampler, observables=["per_example[0:20]"], max_fge=12000.0)
    exact, made = Exact(found.nbeta), found.observed.covariance("per_example")
    truth = exact.covariances([exact.form([i]) for i in range(ROWS)])
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    assert np.all(np.abs(made.value - truth) < 5 * made.se + 0.05 * scale)
    assert np.mean(np.abs(made.value - truth) / scale) < 0.2


def test_sums_of_long_runs_are_those_of_their_draws(monkeypatch):
    """Once the draws are more numbers than their moments, only those are kept."""
    from lambda_hat_core import Nuts, Sgld
    from lambda_hat_core.samplers import moments

    for sampler in (Nuts(n_draws=800, n_burn=100), Sgld(n_draws=1600, n_burn=160)):
        kept = run(sampler, observables=["per_example[0:5]"]).observed
        monkeypatch.setattr(moments, "_MOST_NUMBERS", 4000)
        summed = run(sampler, observables=["per_example[0:5]"]).observed
        monkeypatch.undo()
        assert summed.trace.observed.recorded.draws is None
        sums = summed.trace.observed.recorded.moments
        assert 8 <= sums.size.shape[1] <= 16 and sums.cross.shape[-2:] == (6, 6)
        assert np.array_equal(summed.trace.loss, kept.trace.loss)
        mine, theirs = (x.covariance("per_example") for x in (summed, kept))
        assert np.all(np.abs(mine.value - theirs.value) < theirs.se)
        assert np.all((0.3 * theirs.se < mine.se) & (mine.se < 3 * theirs.se))
        for a, b in zip(summed.rows(), kept.rows(), strict=True):
            assert abs(a.mean - b.mean) < max(a.se, b.se) and abs(a.r_hat - b.r_hat) < 0.01
        with pytest.raises(ValueError, match="WAIC needs every draw of per_example"):
            summed.waic()


@pytest.mark.parametrize("n_burn", [0, 90, 1000, 1810, 1901, 1960])
def test_sums_of_a_run_of_a_given_length_have_no_draw_of_the_burn_in(n_burn, monkeypatch):
    from lambda_hat_core.samplers import moments

    monkeypatch.setattr(moments, "_MOST_NUMBERS", 4 * 2 * 300 * 2)
    draws = np.random.default_rng(0).normal(size=(2, 2000, 2))
    draws[:, :n_burn] = np.nan
    step = np.where(np.arange(2000) // 10 % 2 == 1, 0.5, 1.0)
    for alternates in (False, True):
        parts = []
        for first in range(0, 2000, 100):
            chunk = draws[:, first : first + 100]
            sizes = np.tile(step[first : first + 100], (2, 1))
            parts.append({"loss": chunk[:, :, 0], "observed": chunk, "step_size": sizes})
            moments.fold(parts, alternates=alternates, n_burn=n_burn, n_draws=2000)
        found = moments.retained(parts, slice(n_burn, None), dropped=n_burn).moments
        size = found.size.sum(axis=-1)[0]
        assert (1 if alternates and n_burn > 1000 else 8) <= len(size) <= 16
        assert size.max() - size[:-1].min(initial=size[-1]) <= size.max() / 2
        assert found.size.min() > 0 and np.isfinite(found.cross).all()
        if n_burn > 1900:
            whole = draws[:, -int(size.sum()) :]
            assert np.allclose(found.total.sum(axis=(1, 2)), whole.sum(axis=1))


def test_batches_are_joined_as_a_run_grows():
    from lambda_hat_core.samplers.moments import fold, retained

    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 40 * 100, 3))
    parts = []
    for k in range(100):
        chunk = draws[:, 40 * k : 40 * k + 40]
        parts.append({"loss": chunk[:, :, 0], "observed": chunk})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lambda_hat_core.samplers.moments._MOST_NUMBERS", 100)
            fold(parts, alternates=False)
    _, found = retained(parts, slice(40 * 9, None))
    assert found.size.shape == (2, 11, 1) and found.size[0, :, 0].tolist() == 10 * [320] + [160]
    assert np.allclose(found.total.sum(axis=1)[:, 0], draws[:, 640:].sum(axis=1))
    assert np.allclose(found.cross.sum(axis=(0, 1, 2)), np.einsum("cti,ctj", *2 * [draws[:, 640:]]))


def test_waic_of_a_posterior_at_temperature_one():
    found = run(posterior={"nbeta": float(N)}, observables=["per_example"], rel_se=0.02)
    exact, made = Exact(float(N)), found.observed
    variances = sum(exact.covariance(f, f) for f in (exact.form([i]) for i in range(N)))
    draws = np.random.default_rng(1).multivariate_normal(exact.w, exact.s, size=20000)
    losses = 0.5 * (draws @ exact.x.T - exact.y) ** 2
    truth = -np.log(np.exp(-losses).mean(axis=0)).mean() + variances / N
    assert made.waic() == pytest.approx(truth, abs=0.001)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ("per_example[-1]", "rows are a number or a slice, without negative numbers"),
        ("per_example[0:500:0]", "rows are a number or a slice"),
        ("val[0:3]", "an entry is the name of a data set or function, or per_example with rows"),
        (["per_example", "per_example[0:2]"], "per_example occurs twice"),
        ("loss", "is recorded in every run"),
        ([], "must be a list of names"),
        ("per_example[490:510]", "has 500 rows, and observables name per_example[490:510]"),
        ("norm", "has no data set or function norm, which observables name"),
        ("val", "has a data set val of another structure than data"),
        ("bad", "has a function bad that raised TypeError"),
    ],
)
def test_mistakes_are_one_line(entries, words):
    x, _, _ = regression()
    sets = {"val": (x,)} if entries == "val" else None
    with pytest.raises(ValueError) as caught:
        run(observables=entries, data_sets=sets, functions={"bad": lambda w: w["a"]})
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert "estimate_llc" in str(caught.value)


def test_entries_are_names_with_rows():
    entries = parsed(written(["val.per_example[ 3 ]", "per_example[10:20:2]", "val"]))
    assert [(e.label, e.name, e.is_rows, e.rows) for e in entries] == [
        ("per_example", None, True, slice(10, 20, 2)),
        ("val", "val", False, None),
        ("val.per_example", "val", True, slice(3, 4)),
    ]


def test_a_run_without_observables_says_so():
    with pytest.raises(ValueError, match="this run has no observables; pass observables="):
        _ = run(max_fge=100.0).observed


def test_observables_do_not_change_the_draws_nor_ids():
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers.exact import Nuts as Spec
    from lambda_hat_core.config.spec import RunSpec

    plain, watched = run(max_fge=2000.0), run(max_fge=2000.0, observables="per_example[0:3]")
    shared = min(plain.trace.loss.shape[1], watched.trace.loss.shape[1])
    assert np.allclose(plain.trace.loss[:, :shared], watched.trace.loss[:, :shared], rtol=1e-9)
    same = {"target": f"tgt_{0:012}", "sampler": Spec(), "posterior": PosteriorSpec()}
    one, none = (RunSpec(**same, dtype="float64", **o) for o in ({}, {"observables": None}))
    assert one.id == none.id and "observables" not in one.model_dump()
    assert RunSpec(**same, dtype="float64", observables=["val"]).id != one.id


@pytest.mark.parametrize(
    ("sets", "functions", "words"),
    [
        ({"my val": {}}, None, "has data_sets with the name 'my val'; a name is made of letters"),
        ({"per_example": {}}, None, "has data_sets with the name per_example; that word"),
        (None, {"loss": jnp.sum}, "has functions with the name loss; that word"),
        ({"f": slice(0)}, None, "has a data set f without rows"),
        ({"f": np.s_[:9, :2]}, None, "has a data set f on which the loss raised TypeError"),
        (
            {"f": np.s_[:9, :, None]},
            None,
            "has a data set f with float64 of shape (9, 10, 1), where",
        ),
        (None, {"f": lambda w: w * 1j}, "has a function f that returns complex128 numbers"),
        (None, {"f": lambda w: w[:0]}, "has a function f that returns an empty array"),
        (None, {"f": lambda w: jnp.log(-(w**2))}, "the observable f is nan at w*"),
    ],
)
def test_data_sets_and_functions_that_cannot_be_recorded(sets, functions, words):
    x, y, _ = regression()
    if sets is not None:
        sets = {
            name: {"x": x[at], "y": y[:9] if isinstance(at, tuple) else y[at]} if at else at
            for name, at in sets.items()
        }
    with pytest.raises(ValueError) as caught:
        run(observables="f", data_sets=sets, functions=functions)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_data_sets_without_names():
    from lambda_hat_core.targets.observables import check_names

    with pytest.raises(ValueError, match="has data_sets of type list; write data_sets="):
        check_names("estimate_llc", "data_sets", [1])
    with pytest.raises(ValueError, match="has data_sets with the name 1; a name is made of"):
        check_names("estimate_llc", "data_sets", {1: [1]})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_under_weights_the_loss_on_a_data_set_is_the_users_own(dtype):
    """The mean of the losses of its rows is another number: rows of it weigh differently too."""
    rng = np.random.default_rng(0)

    def rows(n):
        mask = (rng.random((n, 6)) < 0.5).astype(float)
        mask[:, 0] = 1.0
        x = rng.normal(size=(n, 6, D))
        return {"x": x, "y": x @ np.ones(D) + rng.normal(size=(n, 6)), "mask": mask}

    def masked(w, batch):
        square = (batch["x"] @ w["a"] - batch["y"]) ** 2
        return jnp.sum(batch["mask"] * square) / jnp.sum(batch["mask"]) / 2

    data, val = rows(40), rows(10)
    seen = data["mask"].astype(bool)
    w = {"a": np.linalg.lstsq(data["x"][seen], data["y"][seen])[0], "b": np.ones(2)}
    found = estimate_llc(
        masked,
        w,
        data,
        weights=data["mask"].sum(axis=1),
        restrict="a",
        observables=["val", "val.per_example"],
        data_sets={"val": val},
        sampler="sgld",
        dtype=dtype,
        max_fge=100.0,
        progress=False,
    )
    table = found.observed.to_dataframe().set_index("name").at_minimum
    each = [float(masked(w, {name: a[[i]] for name, a in val.items()})) for i in range(10)]
    assert table["val"] == pytest.approx(float(masked(w, val)), rel=1e-6)
    assert table["val.per_example"].tolist() == pytest.approx(each, rel=1e-5)
    assert abs(np.mean(each) / float(masked(w, val)) - 1) > 0.01
