"""Rows from parquet and Arrow files, and passes over many rows in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from lambda_hat_core import estimate_llc, load_rows
from lambda_hat_core.targets import manyrows, rows

N = 70


def table(**others):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)).astype(np.float32)
    tokens = rng.integers(0, 9, size=(N, 4)).astype(np.int32)
    columns = {f"x{i}": x[:, i] for i in range(3)}
    columns |= {"tokens": tokens.tolist(), "y": np.arange(N), **others}
    return pa.table(columns), x, tokens


def test_columns_of_files_and_folders_become_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_BATCH", 16)
    made, x, tokens = table()
    parquet.write_table(made, tmp_path / "all.parquet")
    (tmp_path / "parts").mkdir()
    parquet.write_table(made.slice(0, 30), tmp_path / "parts" / "0.parquet")
    parquet.write_table(made.slice(30), tmp_path / "parts" / "1.parquet")
    feather.write_feather(made, tmp_path / "all.arrow")
    for name in ("all.parquet", "parts", "all.arrow"):
        found = load_rows(tmp_path / name, {"x": ["x0", "x2"], "t": "tokens", "y": "y"})
        assert np.array_equal(found["x"], x[:, [0, 2]]) and found["x"].dtype == np.float32
        assert np.array_equal(found["t"], tokens) and found["t"].dtype.kind == "i"
        assert np.array_equal(found["y"], np.arange(N))
    wide = load_rows(tmp_path / "all.parquet", {"x": "x0", "y": "y"}, dtype=np.float64)
    assert wide["x"].dtype == np.float64 and wide["x"].shape == (N,) and wide["y"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("others", "columns", "words"),
    [
        ({}, {"x": "x9"}, "has no column x9 for x"),
        ({}, {"x": []}, "x names no column"),
        ({"gap": [None] + [1.0] * (N - 1)}, {"x": "gap"}, "entries that are missing"),
        ({"word": ["a"] * N}, {"x": "word"}, "has string values; a column holds numbers"),
        ({"l": [[1]] + [[1, 2]] * (N - 1)}, {"x": "l"}, "has lists of 1 to 2"),
    ],
)
def test_mistakes_are_one_line(tmp_path, others, columns, words):
    parquet.write_table(table(**others)[0], tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=words):
        load_rows(tmp_path / "rows.parquet", columns)
    with pytest.raises(ValueError, match="there is no file or folder"):
        load_rows(tmp_path / "other.parquet", columns)
    (tmp_path / "rows.csv").write_text("a,b")
    with pytest.raises(ValueError, match="it reads parquet and Arrow files"):
        load_rows(tmp_path / "rows.csv", columns)


def test_passes_in_parts_have_the_same_numbers(monkeypatch, x64):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(N, 3)))
    w = jnp.arange(3.0)

    def mean(w):
        return manyrows.mean_of_rows(lambda part: jnp.mean(jnp.tanh(part @ w) ** 2), x)

    def every():
        return manyrows.each_row(lambda row: jnp.sum(row * w), x)

    def seen():
        along = jax.jvp(jax.grad(mean), (w,), (jnp.ones(3),))[1]
        return [*jax.value_and_grad(mean)(w), along, every()]

    at_once = seen()
    monkeypatch.setattr(manyrows, "AT_ONCE", 16)
    for a, b in zip(at_once, seen(), strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-15)


def test_rows_that_do_not_fit_in_memory_are_refused_before_they_are_read():
    """This array of 13 TB takes 4 bytes; a file that is mapped into memory has the same type."""
    huge = np.broadcast_to(np.float32(0), (2**40, 3))
    told_of = r"GB, and this machine has .* draw as many as fit"
    with pytest.raises(ValueError, match=told_of) as told:
        estimate_llc(lambda w, x: jnp.mean((x @ w) ** 2), np.zeros(3), huge, progress=False)
    assert "\n" not in str(told.value)
