"""What a person waits for: CPU seconds of a fresh process from start to a verdict.

`python bench/answers.py [--cells "regression,digits,n=100000"] [--folder DIR] [--rel-se 0.05]
[--peer PYTHON]`

Each cell is one call of `estimate_llc` with its defaults in a process of its own on one core,
imports and compilation included: first with an empty cache of compiled programs (cold), then with
that cache (warm). The second call in the warm process, on another target of the same shape, is
timed too. Networks are trained once and kept in the folder.

With --peer, the Python of an environment that has devinterp (see bench/peer.py), the PyTorch peer
answers every cell on the same core. The ratios are CPU seconds here over CPU seconds there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pages import markdown

_CELLS = ("regression", "digits", "deep digits", "transformer", "convolutional", "n=10000",
          "n=100000", "n=1000000")  # fmt: skip


def _answer(name: str, folder: Path, rel_se: float) -> dict[str, Any]:
    """Answer one cell in this process, and print the row."""
    from networks import trained

    from lambda_hat_core import estimate_llc

    network, params, data = trained(name, folder)
    answer = estimate_llc(network.loss, params, data, rel_se=rel_se, progress=False)
    cpu = time.process_time()
    beside = {key: value + 1e-6 for key, value in params.items()}
    estimate_llc(network.loss, beside, data, rel_se=rel_se, progress=False)
    again = time.process_time() - cpu
    work = answer.trace.work
    spent = sum(work.values())
    return {
        "cell": name,
        "d": answer.trace.d,
        "n": answer.trace.n,
        "sampler": answer.settings["sampler"],
        "llc": answer.llc,
        "se": answer.se,
        "verdict": answer.verdict,
        "gradients": spent,
        "set-up": 1 - work["sampling"] / spent,
        "first": cpu,
        "second": again,
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def row_of(command: Sequence[Any], **environment: str) -> dict[str, Any]:
    """Return the JSON row that a command prints last, run on one core."""
    core = min(os.sched_getaffinity(0))
    run = subprocess.run(
        ["taskset", "-c", str(core), *map(str, command)],
        env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(run.stdout.splitlines()[-1])


def peer(python: Path, name: str, folder: Path, *more: str) -> dict[str, Any]:
    """Return the row of the peer for a cell that has been trained."""
    return row_of([python, Path(__file__).with_name("peer.py"), name, "--folder", folder, *more])


def _product(name: str, folder: Path, rel_se: float, cache: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--answer", name, "--folder", folder, "--rel-se", rel_se]
    return row_of(command, XDG_CACHE_HOME=str(cache), JAX_ENABLE_X64="0")


def _cell(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Measure a cell cold, then warm, then with the peer. Training is not part of that."""
    from networks import trained

    trained(name, given.folder)
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (_product(name, given.folder, given.rel_se, Path(cache)) for _ in range(2))
    row = {**warm, "cold": cold["first"]}
    if given.peer:
        there = peer(given.peer, name, given.folder)
        print(there, file=sys.stderr, flush=True)
        row |= {
            "peer": there["seconds"],
            "ratio warm": row["first"] / there["seconds"],
            "ratio cold": row["cold"] / there["seconds"],
        }
    return row


def main() -> None:
    """Measure the cells and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default=",".join(_CELLS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "answers")
    parser.add_argument("--rel-se", type=float, default=0.05)
    parser.add_argument("--peer", type=Path, help="a Python that has devinterp")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.answer:
        print(json.dumps(_answer(given.answer, given.folder, given.rel_se)))
        return
    rows = []
    for name in given.cells.split(","):
        rows.append(_cell(given, name))
        print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(pd.DataFrame(rows).round(3)))


if __name__ == "__main__":
    main()
