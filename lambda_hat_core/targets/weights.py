"""Weights from files of other tools, and their place in params. No pickle is ever read."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lambda_hat_core.targets.networks.layout import dotted

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
_MOST_NAMED = 5


def load_weights(path: str | Path, *, like: Any = None) -> Any:
    """Read weights from a `.safetensors` or `.npz` file.

    Args:
        path: the file.
        like: params, any pytree of arrays; None returns the arrays by name.

    Returns:
        NumPy arrays by name, or a pytree as `like` in which each array is that of its dotted name,
        such as `layers.0.weight`. Half precision is widened to float32.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another type, or if its arrays are not those of `like`: one line
            for each of them.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"load_weights: there is no file {file}")
    arrays = _read(file)
    if like is None:
        return arrays
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    names = [dotted(jax.tree_util.keystr(place)) for place, _ in paths]
    found = matched(arrays, dict(zip(names, (leaf for _, leaf in paths), strict=True)), str(file))
    return treedef.unflatten(found[name] for name in names)


def matched(
    arrays: Mapping[str, np.ndarray], like: Mapping[str, Any], what: str
) -> dict[str, np.ndarray]:
    """Return the arrays in the order and the dtypes of `like`.

    Args:
        arrays: the weights by name.
        like: what they must be, by name.
        what: where they come from, for errors.

    Raises:
        ValueError: one line for each array that is missing, unexpected, of another shape or type.
    """
    lines = [
        f"{what} has no {name} of shape {np.shape(wanted)}; {_nearest(name, arrays)}"
        for name, wanted in like.items()
        if name not in arrays
    ]
    lines += [
        f"{what} has {name} of shape {np.shape(array)}, which params have not; leave it out, or "
        "use the params of the network that was saved"
        for name, array in arrays.items()
        if name not in like
    ]
    found = {}
    for name in (name for name in like if name in arrays):
        array, wanted = arrays[name], np.asarray(like[name])
        if array.shape != wanted.shape:
            lines.append(
                f"{what} has {name} of shape {array.shape}, but params have {wanted.shape} there; "
                "use the sizes of the network that was saved"
            )
        elif (array.dtype.kind == "f") != (wanted.dtype.kind == "f"):
            lines.append(
                f"{what} has {name} of type {array.dtype.name}, but params have "
                f"{wanted.dtype.name} there; weights must be floats, neither counts nor quantized"
            )
        found[name] = array.astype(wanted.dtype)
    if lines:
        more = len(lines) - _MOST_NAMED
        shown = lines[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError("\n".join(shown))
    return found


def _read(file: Path) -> dict[str, np.ndarray]:
    match file.suffix.lower():
        case ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return {name: _widened(archive[name]) for name in archive.files}
        case ".safetensors":
            from safetensors.numpy import load_file

            return {name: _widened(array) for name, array in load_file(file).items()}
        case suffix if suffix in _PICKLES:
            target = file.with_suffix(".safetensors")
            raise ValueError(
                f"load_weights: {file} is a pickle, which can run any code when it is read; "
                'convert it once: python -c "import torch, safetensors.torch as s; '
                f"s.save_file(torch.load('{file}', weights_only=True), '{target}')\""
            )
        case suffix:
            raise ValueError(
                f"load_weights: {file} is of type {suffix or 'unknown'}; it must be .safetensors "
                "or .npz"
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1) or sorted(known)[:_MOST_NAMED]
    return f"it has {', '.join(close)}" if close else "it has no array at all"


def _widened(array: np.ndarray) -> np.ndarray:
    half = array.dtype.name in ("float16", "bfloat16")
    return array.astype(np.float32) if half else array
