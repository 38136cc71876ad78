"""What a person waits for: CPU seconds of a fresh process from start to a verdict.

`python bench/answers.py [--cells "regression,digits,n=100000"] [--folder DIR] [--rel-se 0.05]`

Each cell is one call of `estimate_llc` with its defaults in a process of its own on one core,
imports and compilation included: first with an empty cache of compiled programs (cold), then with
that cache (warm). The second call in the warm process, on another target of the same shape, is
timed too. Networks are trained once and kept in the folder.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from pages import markdown

_CELLS = ("regression", "digits", "deep digits", "transformer", "convolutional", "n=10000",
          "n=100000", "n=1000000")  # fmt: skip


def _answer(name: str, folder: Path, rel_se: float) -> dict[str, Any]:
    """Answer one cell in this process, and print the row."""
    from networks import NETWORKS, at_any_n, trained

    from lambda_hat_core import estimate_llc

    if name.startswith("n="):
        network = NETWORKS["regression"]
        params, data = at_any_n(int(name.removeprefix("n=")), folder)
    else:
        network = NETWORKS[name]
        params, data = trained(name, folder), network.data(network.n)
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


def _in_a_process(name: str, folder: Path, rel_se: float, cache: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--answer", name, "--folder", folder, "--rel-se", rel_se]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "JAX_ENABLE_X64": "0"}
    core = min(os.sched_getaffinity(0))
    run = subprocess.run(
        ["taskset", "-c", str(core), *map(str, command)],
        env=environment, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    """Measure the cells and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", default=",".join(_CELLS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "answers")
    parser.add_argument("--rel-se", type=float, default=0.05)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.answer:
        print(json.dumps(_answer(given.answer, given.folder, given.rel_se)))
        return
    rows = []
    for name in given.cells.split(","):
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (
                _in_a_process(name, given.folder, given.rel_se, Path(cache)) for _ in range(2)
            )
        rows.append({**warm, "cold": cold["first"]})
        print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(pd.DataFrame(rows).round(3)))


if __name__ == "__main__":
    main()
