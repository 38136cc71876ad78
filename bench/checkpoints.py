"""What the checkpoints of a training cost after the first: CPU seconds of a loop of estimates.

`python bench/checkpoints.py [--network regression] [--count 30] [--peer PYTHON]`

The network is trained with Adam, and `estimate_llc` with its defaults is called at checkpoints at
equal distances, in one process on one core, which begins with no compiled programs. After the first
nothing should be compiled: the programs that are, are counted and named. With --peer, the Python of
an environment that has devinterp (see bench/peer.py), the PyTorch peer answers the last checkpoint
with 4 x 500 draws at one learning rate, in a process of its own whose imports are not counted.

`llc_along` then takes as many draws as the peer at every checkpoint, from batches as large, with
the setting of the last one held. So few are `suspect`: this is about what they cost.

The bars are that every call after the first takes at most a quarter of the first, that their median
is at most a fifth of the peer's time, and that of the held checkpoints at most a tenth.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from answers import peer
from pages import markdown, rewrite

AFTER_FIRST, CHEAPER, HELD_CHEAPER = 0.25, 5.0, 10.0
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


def trained(name: str, folder: Path, count: int) -> tuple[Any, Any, list[Any]]:
    """Return the network, its data and its checkpoints; the last one is kept for the peer."""
    from architectures import ARCHITECTURES, file_of
    from networks import Network, training

    network, data = Network(ARCHITECTURES[name]), ARCHITECTURES[name].examples(folder)
    last, checkpoints = training(network, data, steps=_STEPS, keep=count)
    np.savez(file_of(name, folder), **last)
    return network, data, checkpoints


def calls(network: Any, data: Any, checkpoints: list[Any]) -> pd.DataFrame:
    """Estimate the checkpoints one after another and return one row for each."""
    import jax

    from lambda_hat_core import estimate_llc

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


def held(network: Any, data: Any, checkpoints: list[Any]) -> list[float]:
    """Return the seconds of every checkpoint after that whose setting is held, the last."""
    from lambda_hat_core import Sgld, llc_along

    ends = []

    def in_turn() -> Iterator[tuple[int, Any]]:
        *others, last = enumerate(checkpoints, start=1)
        for checkpoint in (last, *others):
            yield checkpoint
            ends.append(time.process_time())

    as_the_peer = Sgld(n_draws=500, n_burn=0, thin=1, batch_size=64, record_rows=64)
    llc_along(
        network.loss,
        in_turn(),
        data,
        hold=len(checkpoints),
        sampler=as_the_peer,
        progress=False,
    )
    return np.diff(ends).tolist()


def summary(
    rows: pd.DataFrame, each_held: list[float], there: dict[str, Any] | None
) -> pd.DataFrame:
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
        "held, s": float(np.median(each_held)),
    }
    if there is not None:
        seconds = there["seconds"] - there["imports"]
        line |= {
            "peer, s": seconds,
            "peer / median": seconds / later.median(),
            "peer / held": seconds / float(np.median(each_held)),
        }
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
        made = trained(given.network, Path(folder), given.count)
        rows, each_held = calls(*made), held(*made)
        there = None
        if given.peer:
            there = peer(given.peer, given.network, Path(folder), "--rates", "1e-4")
            print(there, file=sys.stderr, flush=True)
    table = summary(rows, each_held, there)
    print(markdown(table, 3))
    if given.docs:
        rewrite(given.docs, "checkpoints", markdown(table, 3))
    at = table.iloc[0]
    missed = []
    if at["largest of the rest, s"] > AFTER_FIRST * at["first, s"]:
        missed.append("a call after the first takes more than a quarter of it")
    if there is not None and at["peer / median"] < CHEAPER:
        missed.append(f"the peer takes less than {CHEAPER:g} times the median")
    if there is not None and at["peer / held"] < HELD_CHEAPER:
        missed.append(f"the peer takes less than {HELD_CHEAPER:g} times a held checkpoint")
    if missed:
        raise SystemExit(f"outside the bar: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
