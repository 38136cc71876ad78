"""What a case of the verdict bench is."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lambda_hat_core.config.posterior import PosteriorSpec

ANSWERS = Path("bench/out/answers.json")
"""Answers by sampling, which take minutes together. Remove it after a change of a case."""

Loss = Callable[[Any, Any], Any]


class Case(NamedTuple):
    """A call of `estimate_llc`, and its answer.

    Attributes:
        loss: the loss.
        params: w*, its minimum.
        data: rows.
        posterior: settings that differ from the defaults.
        exact: the value that a perfect sampler would find.
        exact_se: its standard error, 0 if it is exact.
    """

    loss: Loss
    params: np.ndarray | list[np.ndarray]
    data: Any
    posterior: dict[str, float]
    exact: float
    exact_se: float = 0.0


def is_held_out(name: str) -> bool:
    """Return whether a case is kept out of the choice of thresholds: about every third is."""
    return zlib.crc32(name.encode()) % 3 == 0


def once(name: str, compute: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Return a sampled answer and its error, from the file of those that were made before."""
    made = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    if name not in made:
        made[name] = compute()
        ANSWERS.parent.mkdir(parents=True, exist_ok=True)
        ANSWERS.write_text(json.dumps(made))
    value, se = made[name]
    return value, se


def default_nbeta(n: int) -> float:
    """Return nbeta of n examples where nobody names it."""
    return PosteriorSpec().resolved_nbeta(n)
