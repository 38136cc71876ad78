"""Generated data: what their rows are, and what the seed decides."""

import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.targets.tasks import examples


def arrays(spec, seed=0):
    return [np.asarray(array) for batch in examples(spec, seed) for array in batch]


@pytest.mark.parametrize(
    ("operation", "result"),
    [("add", lambda a, b: a + b), ("subtract", lambda a, b: a - b), ("multiply", np.multiply)],
)
def test_every_pair_is_either_trained_on_or_held_out(operation, result):
    spec = Modular(p=7, operation=operation)
    x, y, held_out, other = arrays(spec)
    assert len(x) == spec.n_data == 19 and len(held_out) == 30
    assert len({*map(tuple, x)} | {*map(tuple, held_out)}) == 49
    for pairs, labels in ((x, y), (held_out, other)):
        np.testing.assert_array_equal(labels, result(pairs[:, 0], pairs[:, 1]) % 7)
        assert labels.dtype == np.int32


def test_the_split_of_the_pairs_has_a_seed_of_its_own():
    x = arrays(Modular(p=7))[0]
    np.testing.assert_array_equal(x, arrays(Modular(p=7), seed=1)[0])
    assert not np.array_equal(x, arrays(Modular(p=7, split_seed=1))[0])
    assert Modular().n_data == 1123


def test_one_feature_of_a_row_is_active(x64):
    x, y, held_out, _ = arrays(SparseFeatures(n_data=3000, n_test=50))
    np.testing.assert_array_equal(x, y)
    assert x.shape == (3000, 6) and len(held_out) == 50
    assert np.all((x > 0).sum(axis=1) == 1) and x.max() <= 1
    share = (x > 0).mean(axis=0)
    assert np.all(np.abs(share - 1 / 6) < 4 * np.sqrt(5 / 36 / 3000))
    assert abs(x.sum(axis=1).mean() - 0.5) < 4 / np.sqrt(12 * 3000)


def test_sparse_features_are_independent(x64):
    x = arrays(SparseFeatures(n_data=5000, n_test=1, sparsity=0.7))[0]
    active = x > 0
    assert abs(active.mean() - 0.3) < 4 * np.sqrt(0.21 / 30000)
    both = (active[:, 0] & active[:, 1]).mean()
    assert abs(both - 0.09) < 4 * np.sqrt(0.09 * 0.91 / 5000)


def test_a_sequence_repeats_a_segment_of_distinct_tokens():
    spec = Induction(n_data=200, n_test=20, vocabulary=9, context=12, min_period=3, max_period=5)
    x, y, held_out, _ = arrays(spec)
    assert x.shape == y.shape == (200, 12) and len(held_out) == 20
    periods = []
    for tokens, labels in zip(x, y, strict=True):
        period = next(p for p in range(1, 12) if np.array_equal(tokens[p:], tokens[:-p]))
        assert len({*tokens[:period]}) == period
        scored = np.arange(12) >= period
        np.testing.assert_array_equal(labels >= 0, scored)
        np.testing.assert_array_equal(labels[scored], tokens[np.arange(12) - period + 1][scored])
        periods.append(period)
    assert {*periods} == {3, 4, 5}
    everything = arrays(spec.model_copy(update={"scored": "all"}))
    np.testing.assert_array_equal(everything[0], x)
    np.testing.assert_array_equal(everything[1][:, :-1], x[:, 1:])


def test_rows_in_context_are_regressions(x64):
    spec = IclRegression(n_data=2000, n_test=10, dim=2, examples=5, noise_scale=0.0)
    x, y, _, held_out = arrays(spec)
    assert x.shape == (2000, 10, 3) and y.shape == (2000, 5) and held_out.shape == (10, 5)
    questions, answers = x[:, ::2], x[:, 1::2]
    assert not questions[..., 0].any() and not answers[..., 1:].any()
    np.testing.assert_array_equal(answers[..., 0], y)
    for row in range(3):
        fit, residual, rank, _ = np.linalg.lstsq(questions[row, :, 1:], y[row])
        assert rank == 2 and residual < 1e-20 and np.all(fit != 0)
    assert abs(np.mean(y**2) - 2) < 0.5
    noisy = arrays(spec.model_copy(update={"noise_scale": 0.5}))[1]
    assert np.std(noisy - y) == pytest.approx(0.5, rel=4 / np.sqrt(2 * y.size))


def test_rows_may_share_a_few_regressions(x64):
    spec = IclRegression(n_data=50, n_test=1, dim=2, examples=4, noise_scale=0.0, tasks=3)
    x, y, *_ = arrays(spec)
    tasks = [np.linalg.lstsq(a, b)[0] for a, b in zip(x[:, ::2, 1:], y, strict=True)]
    assert len({*map(tuple, np.round(tasks, 6))}) == 3


def test_rows_depend_on_the_seed():
    for spec in (SparseFeatures(), Induction(), IclRegression()):
        small = spec.model_copy(update={"n_data": 5, "n_test": 5})
        first, again, other = (examples(small, seed)[0] for seed in (0, 0, 1))
        assert jnp.array_equal(first[0], again[0]) and not jnp.array_equal(first[0], other[0])
