"""What the checkpoints of a training cost after the first: CPU seconds of a loop of estimates.

`python bench/checkpoints.py [--network regression] [--count 30] [--peer PYTHON]`

The network is trained with Adam, and `estimate_llc` with its defaults is called at checkpoints at
equal distances, in one process on one core, which begins with no compiled programs. After the first
nothing should be compiled: the programs that are, are counted and named. With --peer, the Python of
an environment that has devinterp (see bench/peer.py), the PyTorch peer answers the last checkpoint
with 4 x 500 draws at one learning rate, in a process of its own whose imports are not counted.

The bars are that every call after the first takes at most a quarter of the first, and that their
median is at most a fifth of the peer's time.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from answers import peer
from pages import markdown, rewrite

AFTER_FIRST, CHEAPER = 0.25, 5.0
_STEPS = 6000


class _Compiled(logging.Handler):
    """Collects the names of the programs that JAX says it compiles."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        begin, message = "Finished XLA compilation of ", record.getMessage()
        if message.startswith(begin):
            self.names.append(message.removeprefix(begin).split(" in ")[0])


def calls(name: str, folder: Path, count: int) -> pd.DataFrame:
    """Estimate the checkpoints one after another and return one row for each."""
    import jax
    from architectures import ARCHITECTURES, file_of
    from networks import Network, training

    from lambda_hat_core import estimate_llc

    network, data = Network(ARCHITECTURES[name]), ARCHITECTURES[name].examples(folder)
    last, checkpoints = training(network, data, steps=_STEPS, keep=count)
    np.savez(file_of(name, folder), **last)
    handler = _Compiled()
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    logger.propagate = False
    rows = []
    with jax.log_compiles():
        for i, params in enumerate(checkpoints):
            handler.names.clear()
            began = time.process_time()
            found = estimate_llc(network.loss, params, data, progress=False)
            row = {
                "checkpoint": i + 1,
                "seconds": time.process_time() - began,
                "compiled": len(handler.names),
                "gradients": found.work_fge,
                "draws": int(found.trace.loss.shape[1]),
                "llc": found.llc,
                "se": found.se,
                "verdict": found.verdict,
            }
            names = ", ".join(handler.names) if i else ""
            print(row, "; ".join(found.reasons), names, file=sys.stderr, flush=True)
            rows.append(row)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame, there: dict[str, Any] | None) -> pd.DataFrame:
    """Return the line of the table."""
    first, later = rows.seconds[0], rows.seconds[1:]
    line = {
        "checkpoints": len(rows),
        "first, s": first,
        "median of the rest, s": later.median(),
        "largest of the rest, s": later.max(),
        "median / first": later.median() / first,
        "compiled after the first": int(rows.compiled[1:].sum()),
        "ok": int((rows.verdict == "ok").sum()),
        "all, s": rows.seconds.sum(),
    }
    if there is not None:
        seconds = there["seconds"] - there["imports"]
        line |= {"peer, s": seconds, "peer / median": seconds / later.median()}
    return pd.DataFrame([line])


def main() -> None:
    """Measure, print the table and hold it against the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="regression")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--peer", type=Path, help="a Python that has devinterp")
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        rows = calls(given.network, Path(folder), given.count)
        there = None
        if given.peer:
            there = peer(given.peer, given.network, Path(folder), "--rates", "1e-4")
            print(there, file=sys.stderr, flush=True)
    table = summary(rows, there)
    print(markdown(table, 3))
    if given.docs:
        rewrite(given.docs, "checkpoints", markdown(table, 3))
    at = table.iloc[0]
    missed = []
    if at["largest of the rest, s"] > AFTER_FIRST * at["first, s"]:
        missed.append("a call after the first takes more than a quarter of it")
    if there is not None and at["peer / median"] < CHEAPER:
        missed.append(f"the peer takes less than {CHEAPER:g} times the median")
    if missed:
        raise SystemExit(f"outside the bar: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
