"""Show that the tests of the numerics can fail: a listed test must kill every mutant.

The tests first run on a copy without a mutant. Then each mutant is applied alone to a copy, and its
tests run until one fails. Nothing is written in the working tree except its compilation cache.
"""

import argparse
import queue
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutants.copies import ROOT, Copy, Outcome
from tests.mutants.table import Mutant, modules, mutants


def _chosen(words: list[str]) -> list[Mutant]:
    everything = mutants()
    chosen = [m for m in everything if not words or any(word in m.name for word in words)]
    if not chosen:
        raise ValueError(
            f"no mutant's name holds {words}; names are {[m.name for m in everything]}"
        )
    here = modules(ROOT)
    for mutant in chosen:
        mutant.applied(here)
    return chosen


def _run(chosen: list[Mutant], processes: int, folder: Path) -> list[Outcome]:
    tests = sorted({test for mutant in chosen for test in mutant.node_ids(ROOT)})
    began = time.perf_counter()
    first = Copy(folder / "0")
    first.test_all(tests, processes)
    seconds = time.perf_counter() - began
    print(f"without a mutant all tests pass, {seconds:.0f} s", flush=True)
    copies: queue.Queue[Copy] = queue.Queue()
    copies.put(first)
    for i in range(1, processes):
        copies.put(Copy(folder / str(i), like=first.root))

    def one(mutant: Mutant) -> Outcome:
        copy = copies.get()
        try:
            return copy.outcome(mutant)
        finally:
            copies.put(copy)

    outcomes = []
    with ThreadPoolExecutor(processes) as pool:
        try:
            for done in as_completed([pool.submit(one, mutant) for mutant in chosen]):
                outcomes.append(done.result())
                print(outcomes[-1], flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    return outcomes


def main() -> int:
    """Return 0 if every mutant was killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name holds one of these")
    parser.add_argument("--processes", type=int, default=1, help="copies tested at a time")
    options = parser.parse_args()
    # However it is stopped, the copies are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        outcomes = _run(_chosen(options.words), options.processes, Path(folder))
    alive = [outcome for outcome in outcomes if outcome.state != "killed"]
    seconds = time.perf_counter() - began
    print(f"{len(outcomes) - len(alive)} of {len(outcomes)} mutants killed, {seconds:.0f} s")
    for outcome in alive:
        print(outcome)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
