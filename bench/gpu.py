"""The same work on a GPU and on the CPU of its machine, in at most six minutes.

`python bench/gpu.py [--minutes 6] [--sizes 1000,10000] [--chains 4,64] [--rows 60000]`

* one step of one chain of SGLD (float32, batches of 64) in microseconds, for tanh MLPs of 1e3 to
  1e6 weights and 4 to 512 chains at once;
* one gradient of one chain of NUTS (float64, 1000 examples, d = 1e4, four chains);
* one answer, `estimate_llc` with its defaults on a transformer of 51,146 weights with synthetic
  rows, in seconds: the first call, which compiles, and a second one.

The GPU and the CPU get half of the time each, in a process of their own. What would not fit into
what is left, by a forecast from the cells before it, or into memory, is skipped, and the table says
so with the forecast.
"""

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pages import markdown, rewrite

_BATCH, _LENGTH = 64, 0.5
"""Examples per step, and least seconds of a timed call."""
_COMPILES = 10.0
"""Seconds to compile a cell, before one has been."""
_NUTS = 10_000
"""Weights of the network of NUTS."""
_CALLS = ("first", "second")
_COPIES = 12
"""Arrays of one weight per chain that a step holds, roughly."""
_FIRST_RATE = {"cpu": 1e10, "gpu": 2e11}
"""Floating-point operations per second assumed for the first cell."""


class Budget:
    """The seconds of a process, and what has been learnt about its speed."""

    def __init__(self, seconds: float, rate: float, memory: float):
        self._until = time.monotonic() + seconds
        self.rate, self.memory, self.compiles = rate, memory, _COMPILES

    @property
    def left(self) -> float:
        """Seconds left."""
        return self._until - time.monotonic()

    def refusal(self, seconds: float, memory: float = 0.0) -> str | None:
        """Return why a cell is skipped, if it is."""
        if memory > self.memory:
            return f"skipped: {memory / 1e9:.3g} GB, of {self.memory / 1e9:.3g}"
        if seconds > self.left:
            return f"skipped: about {seconds:.3g} s, of {max(self.left, 0.0):.3g} left"
        return None


def _memory(device: Any) -> float:
    """Return the bytes that arrays may take."""
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit", 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _step(d: int, chains: int, budget: Budget) -> float | str:
    import jax.numpy as jnp
    from cells import Case, product, sgld_kernel, timed
    from shapes import WIDTHS, flops, posterior_of

    from lambda_hat_core.samplers.monitor import Monitor

    work = chains * flops(WIDTHS[d], _BATCH)
    steps = max(8, math.ceil(_LENGTH * budget.rate / work))
    # A call of one step and one of all of them, each first compiled and then timed.
    refused = budget.refusal(
        budget.compiles + 2 * steps * work / budget.rate, 4.0 * d * chains * _COPIES
    )
    if refused:
        return refused
    posterior = posterior_of(d)
    watched = jnp.ones((4, posterior.w0.size))
    kernel = sgld_kernel(posterior, _BATCH, "threefry")
    monitor = Monitor(watched, watched, jnp.ones(4))
    one, many = (product(kernel, monitor, 1, thin, chains) for thin in (1, steps))
    began = time.monotonic()
    one(), many()
    seconds = timed(Case(many, lambda _: chains * (steps - 1), base=one))[1]
    budget.compiles = max(time.monotonic() - began - 2 * steps * chains * seconds, 1.0)
    budget.rate = flops(WIDTHS[d], _BATCH) / seconds
    return 1e6 * seconds


def _nuts(d: int, budget: Budget) -> float | str:
    import jax
    from cells import nuts_cases, timed

    refused = budget.refusal(4 * budget.compiles)
    if refused:
        return refused
    with jax.enable_x64(True):
        case = nuts_cases(d)["nuts"]
        case.call(), case.base()
        return 1e6 * timed(case)[1]


def _answers(rows: int, budget: Budget) -> Iterator[float | str]:
    """Yield both answers; labels come in pairs around the outputs, so w* is an exact minimum."""
    import jax
    import numpy as np
    from architectures import ARCHITECTURES
    from networks import Network, Ops

    from lambda_hat_core import Sghmc, estimate_llc

    made = ARCHITECTURES["transformer"]
    rng = np.random.default_rng(0)
    params = {
        name: (rng.normal(size=shape) / math.prod(shape[:-1]) ** 0.5).astype(np.float32)
        for name, shape in made.shapes.items()
    }
    x = rng.normal(size=(rows // 2, 64)).astype(np.float32)
    out = np.asarray(jax.jit(lambda p, x: made.forward(Ops, p, x))(params, x))
    noise = 0.3 * rng.normal(size=out.shape).astype(np.float32)
    data = (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))
    loss = Network(made).loss
    some = jax.device_put(tuple(array[: min(rows, 4096)] for array in data))
    gradient = jax.jit(jax.grad(loss))
    jax.block_until_ready(gradient(params, some))
    began = time.monotonic()
    jax.block_until_ready(gradient(params, some))
    full = (time.monotonic() - began) * rows / len(some[0])
    seconds, compiles = full * Sghmc().work(rows), 10 * budget.compiles
    for seed in range(len(_CALLS)):
        refused = budget.refusal(seconds + compiles)
        if refused:
            yield refused
            continue
        most = max(budget.left, 1.0)
        found = estimate_llc(loss, params, data, progress=False, max_seconds=most, seed=seed)
        print(found, file=sys.stderr, flush=True)
        yield found.seconds
        seconds, compiles = found.seconds, 0.0


def _sizes(given: argparse.Namespace) -> list[tuple[int, int]]:
    return list(itertools.product(given.sizes, given.chains))


def _names(given: argparse.Namespace) -> list[str]:
    """Return the names of all cells, in the order in which they are measured."""
    steps = [f"SGLD step, d = {d:.0e}, {chains} chains, us" for d, chains in _sizes(given)]
    answer = f"answer, transformer, n = {given.rows:,}"
    nuts = f"NUTS gradient, d = {_NUTS:.0e}, 4 chains, us"
    return [steps[0], nuts, *steps[1:], *(f"{answer}, {call} call, s" for call in _CALLS)]


def _values(given: argparse.Namespace, budget: Budget) -> Iterator[float | str]:
    first, *others = _sizes(given)
    yield _step(*first, budget)
    yield _nuts(_NUTS, budget)
    for d, chains in others:
        yield _step(d, chains, budget)
    yield from _answers(given.rows, budget)


def measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all cells on this process's device."""
    import jax

    backend = "cpu" if jax.default_backend() == "cpu" else "gpu"
    device = jax.devices()[0]
    yield {"device": device.device_kind, "backend": backend}
    if given.on != backend:
        return
    budget = Budget(given.seconds, _FIRST_RATE[backend], _memory(device))
    for name, value in zip(_names(given), _values(given, budget), strict=True):
        yield {"cell": name, "value": value}


def _on(backend: str, given: argparse.Namespace) -> tuple[str | None, dict[str, Any]]:
    """Return the name of a device and the rows of its process, which is ended when time is up."""
    seconds = 30 * given.minutes
    environment = {**os.environ, **({"JAX_PLATFORMS": "cpu"} if backend == "cpu" else {})}
    numbers = [",".join(map(str, values)) for values in (given.sizes, given.chains)]
    command = [
        sys.executable, __file__, "--on", backend, "--seconds", str(seconds - 10),
        "--sizes", numbers[0], "--chains", numbers[1], "--rows", str(given.rows),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        with file.open("w") as out:
            child = subprocess.Popen(
                command, env={**environment, "XDG_CACHE_HOME": folder}, stdout=out
            )
            try:
                if child.wait(seconds):
                    raise SystemExit(f"the process for the {backend} failed")
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                print(f"{backend}: ended after {seconds:g} s", file=sys.stderr)
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    if not rows or rows[0]["backend"] != backend:
        return None, {}
    return rows[0]["device"], {row["cell"]: row["value"] for row in rows[1:]}


def main() -> None:
    """Measure both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--sizes", type=numbers, default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--chains", type=numbers, default=[4, 64, 512])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    parser.add_argument("--on", choices=("cpu", "gpu"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.on:
        for row in measure(given):
            print(json.dumps(row), flush=True)
        return
    (gpu, fast), (cpu, slow) = (_on(backend, given) for backend in ("gpu", "cpu"))
    lines = []
    for name in _names(given):
        here, there = (rows.get(name, "out of time") for rows in (slow, fast))
        known = isinstance(here, float) and isinstance(there, float)
        lines.append(
            {
                "": name,
                "CPU": here,
                gpu or "GPU": there if gpu else "no GPU",
                "CPU / GPU": here / there if known else None,
            }
        )
    print(f"GPU: {gpu or 'no GPU'}; CPU: {cpu}, {len(os.sched_getaffinity(0))} cores\n")
    print(markdown(pd.DataFrame(lines), 3))
    if given.docs:
        rewrite(given.docs, "gpu", markdown(pd.DataFrame(lines), 3))


if __name__ == "__main__":
    main()
