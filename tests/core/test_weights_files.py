"""Weights from safetensors and npz files: their place in params, and mistakes in one line each."""

import numpy as np
import pytest


@pytest.fixture
def arrays():
    return {
        "layers.0.weight": np.arange(6.0).reshape(2, 3),
        "layers.0.bias": np.ones(3, np.float16),
        "head": np.arange(3, dtype=np.float32),
    }


@pytest.fixture(params=["npz", "safetensors"])
def saved(request, arrays, tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / f"weights.{request.param}"
    if request.param == "npz":
        np.savez(file, **arrays)
    else:
        save_file(arrays, file)
    return file


def load(*args, **kwargs):
    from lambda_hat_core import load_weights

    return load_weights(*args, **kwargs)


def test_arrays_by_name(saved, arrays):
    found = load(saved)
    assert {name: a.dtype.name for name, a in found.items()} == {
        "layers.0.weight": "float64",
        "layers.0.bias": "float32",
        "head": "float32",
    }
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_arrays_in_their_place(saved, arrays):
    like = {
        "layers": [{"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(3)}],
        "head": np.zeros(3),
    }
    found = load(str(saved), like=like)
    layer = found["layers"][0]
    np.testing.assert_array_equal(layer["weight"], arrays["layers.0.weight"])
    assert (layer["weight"].dtype, layer["bias"].dtype) == (np.float32, np.float64)


def test_one_line_for_each_mistake(saved):
    like = {"layers": [{"weight": np.zeros((3, 2))}], "head": np.zeros(3, int), "heads": np.ones(1)}
    with pytest.raises(ValueError) as caught:
        load(saved, like=like)
    assert str(caught.value).splitlines() == [
        f"{saved} has no heads of shape (1,); it has head",
        f"{saved} has layers.0.bias of shape (3,), which params have not; leave it out, or use the "
        "params of the network that was saved",
        f"{saved} has head of type float32, but params have int64 there; weights must be floats, "
        "neither counts nor quantized",
        f"{saved} has layers.0.weight of shape (2, 3), but params have (3, 2) there; use the sizes "
        "of the network that was saved",
    ]


def test_bfloat16_is_widened(tmp_path):
    import jax.numpy as jnp
    from safetensors.flax import save_file

    save_file({"w": jnp.full(2, 1.5, jnp.bfloat16)}, tmp_path / "w.safetensors")
    found = load(tmp_path / "w.safetensors")["w"]
    assert found.dtype == np.float32 and found.tolist() == [1.5, 1.5]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".bin", ".ckpt"])
def test_a_pickle_is_refused_with_the_line_that_converts_it(suffix, tmp_path):
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"never read")
    with pytest.raises(ValueError) as caught:
        load(file)
    words = str(caught.value)
    assert "is a pickle" in words and f"torch.load('{file}', weights_only=True)" in words
    assert f"'{tmp_path}/model.safetensors'" in words and "\n" not in words


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.npz"):
        load(tmp_path / "gone.npz")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"is of type .txt; it must be .safetensors or .npz"):
        load(tmp_path / "notes.txt")
    np.savez(tmp_path / "objects.npz", a=np.array([None]))
    with pytest.raises(ValueError, match="allow_pickle"):
        load(tmp_path / "objects.npz")
