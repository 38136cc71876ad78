"""Processes of cells.py, each on its own cores and in the environment of a worker."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lambda_hat_assets.cards.card import LocalTag
from lambda_hat_core.config.samplers.base import Dtype

ROOT = Path(__file__).resolve().parents[1]
Cell = tuple[str, int, int | None]
"""Sampler, d and batch size; None stands for the full batch."""
Clock = tuple[float, float]
"""CPU and wall seconds per unit."""


class Process:
    """One process of cells.py."""

    def __init__(self, dtype: Dtype, cores: set[int]):
        self.cores = len(cores)
        environment = {**os.environ, **LocalTag(threads=len(cores)).environment(dtype)}
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "cells.py")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, cell: Cell, variants: tuple[str, ...]) -> None:
        """Ask the process to measure a cell once, in the given variants; none means all."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([*cell, variants]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer: the `flops` of a gradient, and one Clock per variant.

        Raises:
            RuntimeError: if the process died, or has devices other than CPU cores.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of bench/cells.py died; its output is above")
        answer = json.loads(line)
        if answer.pop("devices") != self.cores:
            raise RuntimeError(f"{self.cores} devices were asked for, XLA made others")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
