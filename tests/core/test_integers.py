"""Integers among the data stay what they are, in both precisions, or are refused."""

import numpy as np
import pytest


def checked(leaf):
    from lambda_hat_core.targets.arrays import checked_data

    return checked_data("the test", {"tokens": leaf}, len(leaf))["tokens"]


@pytest.mark.parametrize("kind", ["bool", "uint8", "int32", "int64"])
def test_integers_stay_integers(kind, dtype):
    found = checked(np.array([0, 1, 1], kind))
    assert found.dtype.kind == np.dtype(kind).kind and found.tolist() == [0, 1, 1]


def test_large_integers_need_64_bits(dtype):
    large = np.array([0, 2**40])
    if dtype == "float64":
        assert checked(large).tolist() == [0, 2**40]
        return
    with pytest.raises(ValueError, match="integer 1099511627776; float32 runs have 32-bit"):
        checked(large)
