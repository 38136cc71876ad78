import json

import numpy as np
import pytest

from lambda_hat_core.store.checkpoint import CheckpointFile

ARRAYS = {"w": np.arange(6.0).reshape(2, 3), "key": np.array([1, 2], np.uint32)}


@pytest.fixture
def point(tmp_path):
    return CheckpointFile(tmp_path / "run_x", {"spec": "abc", "numerics_version": 1}).bind(chunk=50)


def test_load_returns_none_without_a_checkpoint(point):
    assert point.load() is None


def test_the_newest_arrays_are_loaded_bit_for_bit(point):
    point.save(0, {"w": np.zeros(1)})
    point.save(1, ARRAYS)
    index, arrays = point.load()
    assert index == 1 and set(arrays) == set(ARRAYS)
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == value.dtype
        np.testing.assert_array_equal(arrays[name], value)
    assert [path.name for path in point.path.parent.iterdir()] == ["state.npz"]


@pytest.mark.parametrize(
    "other",
    [{"spec": "other", "numerics_version": 1}, {"spec": "abc", "numerics_version": 2}],
)
def test_another_computation_does_not_load_the_checkpoint(point, other):
    point.save(0, ARRAYS)
    assert CheckpointFile(point.path.parent, other).bind(chunk=50).load() is None
    assert point.bind(chunk=25).load() is None
    assert point.bind(chunk=50).load() is not None


@pytest.mark.parametrize("damage", [slice(0, 0), slice(0, 100), slice(50, None)])
def test_a_truncated_checkpoint_is_ignored(point, damage):
    point.save(0, ARRAYS)
    point.path.write_bytes(point.path.read_bytes()[damage])
    assert point.load() is None


def test_a_checkpoint_with_any_flipped_byte_is_ignored(point):
    """Also those of the archive's own fields, which libraries report in a dozen ways."""
    point.save(0, ARRAYS)
    whole = point.path.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        point.path.write_bytes(content)
        assert point.load() is None, place
    point.path.write_bytes(whole)
    assert point.load() is not None


def test_a_folder_in_place_of_a_checkpoint_gives_way(point):
    point.path.mkdir(parents=True)
    assert point.load() is None
    point.save(0, ARRAYS)
    assert point.load() is not None


def test_pickled_objects_are_rejected_without_unpickling(point):
    point.path.parent.mkdir()
    key = json.dumps("x")
    np.savez(point.path, w=np.array([{"a": 1}], dtype=object), __key__=key, __chunk__=0)
    assert point.load() is None


def test_clear_removes_the_folder(point):
    point.save(0, ARRAYS)
    point.clear()
    assert not point.path.parent.exists()
    point.clear()
