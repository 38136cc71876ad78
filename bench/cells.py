"""One process of bench/speed.py: times cells on request, in the environment a worker would have.

It reads one JSON request per line, [sampler, d, batch, variants], and answers each with the CPU and
wall seconds that one SGLD step (or one NUTS gradient) of one chain costs in each variant. The
variants are the product's code and plain scans.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import plain
from shapes import CHAINS, RANK, WIDTHS, N, basis, flops, posterior_of

from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates, gradients
from lambda_hat_core.samplers.alternating import alternation
from lambda_hat_core.samplers.drive import Progress, run_chains
from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.nuts import NutsKernel
from lambda_hat_core.samplers.overdamped import OverdampedKernel

THIN = 25
BLOCK = 0.3
"""Least seconds of a timed call, so that the overhead of clocks and calls is negligible."""

Clock = tuple[float, float]
"""CPU and wall seconds."""


class Case(NamedTuple):
    """One timed call, and the number of units that its time is divided by.

    The number is fixed or is computed from what the call returns. The time of `base`, which is the
    cost of a call apart from the counted steps, is subtracted.
    """

    call: Callable[[], Any]
    units: Callable[[Any], float]
    base: Callable[[], Any] | None = None


def product(
    kernel: Kernel, monitor: Monitor, draws: int, thin: int, chains: int = CHAINS
) -> Callable[[], Any]:
    """Return a call of the driver as `sample` makes it, beginning at the start point."""
    start = jnp.tile(kernel.posterior.w0, (chains, 1))

    def silent(progress: Progress) -> None:
        del progress

    return lambda: run_chains(
        jr.key(1),
        kernel,
        monitor,
        start,
        n_draws=draws,
        n_burn=0,
        thin=thin,
        llc_of=lambda loss: loss,
        setup_work=0.0,
        setup_seconds=0.0,
        progress=silent,
    )


def sgld_kernel(posterior: Posterior, batch: int | None, noise: Any) -> OverdampedKernel:
    """Return the plain form of SGLD at one step size."""
    return OverdampedKernel(
        posterior,
        gradients.plain(posterior, batch),
        coordinates.identity(posterior),
        alternation(plain.EPS, 1, posterior.w0, extrapolate=False),
        jnp.zeros(1),
        jnp.ones(1),
        "euler",
        noise,
    )


def sgld_cases(d: int, batch: int | None) -> dict[str, Case]:
    """Return the product's steps by generator, its steps with draws every THIN, and plain scans."""
    posterior = posterior_of(d)
    size = posterior.w0.size
    guess = flops(WIDTHS[d], batch or N) / 60e9 + size * 4e-9 + 1e-5
    steps = max(8, round(BLOCK / guess / CHAINS))
    monitor = Monitor(jnp.ones((4, size)), basis(size), jnp.ones(RANK))

    def scaled(count: float) -> Callable[[Any], float]:
        return lambda _: CHAINS * count

    by_hand = {
        f"plain, {name}, {over}": Case(plain.sgld(d, batch, steps, noise, over), scaled(steps))
        for name, noise in (("jax.random", plain.library_noise), ("our noise", plain.product_noise))
        for over in ("vmap", "map")
    }
    draws = max(2, steps // THIN)

    def steps_alone(noise: Any) -> Case:
        kernel = sgld_kernel(posterior, batch, noise)
        one, all_of_them = (product(kernel, monitor, 1, thin) for thin in (1, steps))
        return Case(all_of_them, scaled(steps - 1), base=one)

    recorded = sgld_kernel(posterior, batch, "threefry")
    return {
        "threefry": steps_alone("threefry"),
        "philox": steps_alone("philox"),
        "recorded": Case(product(recorded, monitor, draws, THIN), scaled(draws * THIN)),
        **by_hand,
    }


def nuts_cases(d: int) -> dict[str, Case]:
    """Return the product's NUTS, NUTS written by hand, and a bare scan over gradients."""
    posterior = posterior_of(d)
    size = posterior.w0.size
    vectors = basis(size)
    spectrum = Spectrum(jnp.geomspace(1.0, 1e3, RANK), vectors, jnp.asarray(1e-3))
    place = coordinates.laplace(posterior, spectrum)
    step_size = 0.1 * size**-0.25
    kernel = NutsKernel(posterior, place, jnp.asarray(step_size), plain.DOUBLINGS)
    monitor = Monitor(jnp.ones((4, size)), vectors, jnp.ones(RANK))
    guess = flops(WIDTHS[d], N) / 30e9 + 2e-5
    full = 2**plain.DOUBLINGS - 1
    draws = max(5, round(BLOCK / guess / CHAINS / full))
    steps = full * draws

    def leapfrogs(out: Any) -> float:
        return float(out.values["n_steps"].sum())

    one, all_of_them = (product(kernel, monitor, 1, thin) for thin in (1, draws + 1))
    tree = leapfrogs(one())
    cases = {
        "nuts": Case(all_of_them, lambda out: leapfrogs(out) - tree, base=one),
        "recorded": Case(product(kernel, monitor, draws, 1), leapfrogs),
    }
    for over in ("vmap", "map"):
        by_hand = plain.nuts(posterior, place, step_size, draws, over)
        cases[f"plain, {over}"] = Case(by_hand, lambda taken: float(taken.sum()))
        bare = plain.gradients(posterior, steps, over)
        cases[f"gradient, {over}"] = Case(bare, lambda _: CHAINS * steps)
    return cases


def gemm() -> Case:
    """Return a case of square matrix products, whose unit is one floating-point operation."""
    a = jnp.ones((1024, 1024))
    multiply = jax.jit(lambda a: a @ a)
    return Case(lambda: [multiply(a) for _ in range(8)], lambda _: 8 * 2.0 * 1024**3)


@cache
def cases(sampler: str, d: int, batch: int | None) -> dict[str, Case]:
    """Build a cell once."""
    built = sgld_cases(d, batch) if sampler == "sgld" else nuts_cases(d)
    return {**built, "gemm": gemm()}


@cache
def compiled(sampler: str, d: int, batch: int | None, variant: str) -> Case:
    """Call a variant once, so that timed calls compile nothing."""
    case = cases(sampler, d, batch)[variant]
    for call in (case.call, case.base):
        if call is not None:
            jax.block_until_ready(call())
    return case


def clocked(call: Callable[[], Any]) -> tuple[Any, Clock]:
    """Return the value of a call, and its CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    out = jax.block_until_ready(call())
    return out, (time.process_time() - cpu, time.perf_counter() - wall)


def timed(case: Case) -> Clock:
    """Return the CPU and wall seconds per unit."""
    out, (cpu, wall) = clocked(case.call)
    if case.base is not None:
        _, (less_cpu, less_wall) = clocked(case.base)
        cpu, wall = cpu - less_cpu, wall - less_wall
    units = case.units(out)
    return cpu / units, wall / units


def main() -> None:
    """Serve requests until the input ends."""
    for line in sys.stdin:
        sampler, d, batch, variants = json.loads(line)
        wanted = [*(variants or set(cases(sampler, d, batch)) - {"gemm"}), "gemm"]
        measured = {name: timed(compiled(sampler, d, batch, name)) for name in wanted}
        assert all(math.isfinite(cpu) for cpu, _ in measured.values())
        answer = {"devices": jax.device_count(), "flops": flops(WIDTHS[d], batch or N), **measured}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
