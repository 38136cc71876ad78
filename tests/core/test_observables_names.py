"""What can be observed, by which names, and the mistakes that are reported."""

import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import estimate_llc
from lambda_hat_core.config.observables import parsed, written
from tests.core.observed import D, regression, run


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
