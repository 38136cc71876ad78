"""Checkpoints of long runs: the chains' state and the draws so far, after each chunk."""

import hashlib
import io
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lambda_hat_core.store import files

_CHUNK, _KEY = "__chunk__", "__key__"
_DIGEST = hashlib.sha256().digest_size
"""Bytes of the checksum, which follows the archive."""

_PACKAGES = ("jax", "jaxlib", "numpy", "blackjax", "lambda-hat")


class CheckpointFile:
    """One file of arrays, replaced atomically and read only by exactly the same computation.

    Args:
        folder: a folder for this run alone, made when something is saved.
        identity: everything besides the package versions that determines the numbers: the spec's
            hash, the numerics version, the content of the target. It must be JSON-able.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.path = folder / "state.npz"
        self._identity = {"versions": {name: version(name) for name in _PACKAGES}, **identity}

    def bind(self, **layout: Any) -> "CheckpointFile":
        """Return this checkpoint restricted to one layout (chunk length, devices, threads)."""
        bound = CheckpointFile(self.path.parent, {})
        bound._identity = {**self._identity, **layout}
        return bound

    def beside(self, name: str) -> "CheckpointFile":
        """Return another checkpoint of the same computation, a file `name` in the same folder."""
        other = CheckpointFile(self.path.parent, {})
        other.path, other._identity = self.path.with_name(f"{name}.npz"), self._identity
        return other

    def save(self, chunk_index: int, arrays: Mapping[str, Any]) -> None:
        """Store the state after chunk `chunk_index`: arrays of plain dtypes, by name."""
        buffer = io.BytesIO()
        entries: dict[str, Any] = {_CHUNK: chunk_index, _KEY: self._key(), **arrays}
        np.savez(buffer, allow_pickle=False, **entries)
        content = buffer.getvalue()
        files.write_atomic(self.path, content + hashlib.sha256(content).digest())

    def load(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return the last stored chunk's index and its arrays; None if nothing usable exists.

        Nothing is read of a file that differs in any byte from the one that was stored.
        """
        try:
            whole = memoryview(self.path.read_bytes())
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        content, digest = whole[:-_DIGEST], whole[-_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays.pop(_KEY, "")) != self._key() or _CHUNK not in arrays:
            return None
        return int(arrays.pop(_CHUNK)), arrays

    def clear(self) -> None:
        """Remove the file and its folder."""
        files.remove(self.path.parent)

    def _key(self) -> str:
        text = json.dumps(self._identity, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
