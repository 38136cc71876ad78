"""How many programs JAX compiles for an estimate, and that targets of one shape share them."""

import gc
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from lambda_hat_core import Nuts, Sghmc, estimate_llc
from lambda_hat_core.programs import forget_if_many

_COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event that JAX reports once per program, whether it is compiled or read from a cache."""

_MOST = 25

_SAMPLERS = {
    "sghmc": Sghmc(n_chains=2, n_draws=40, n_burn=10, thin=2),
    "nuts": Nuts(n_chains=2, n_draws=40, n_burn=10, n_warmup=40),
}


@contextmanager
def programs():
    """Count, by name, the programs that JAX compiles in this context."""
    names = Counter()

    def hear(event, seconds, **facts):
        del seconds
        if event == _COMPILED:
            names[facts["fun_name"]] += 1

    monitoring.register_event_duration_secs_listener(hear)
    try:
        yield names
    finally:
        monitoring.unregister_event_duration_listener(hear)


def outputs(params, x):
    """A tanh network with one hidden layer."""
    return jnp.tanh(x @ params["inner"] + params["shift"]) @ params["outer"]


def target(seed):
    """A network at the weights that made its labels, which are a minimum."""
    rng = np.random.default_rng(seed)
    shapes = {"inner": (3, 5), "shift": (5,), "outer": (5, 2)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    x = rng.normal(size=(60, 3))
    return params, (x, np.asarray(outputs(params, x)))


def loss(params, batch):
    """The mean squared error."""
    x, y = batch
    return jnp.mean((outputs(params, x) - y) ** 2)


@pytest.mark.parametrize("name", _SAMPLERS)
def test_an_estimate_compiles_few_programs_and_a_second_of_its_shape_none(name):
    (first, data), (second, others) = target(0), target(1)
    jax.clear_caches()
    with programs() as compiled:
        estimate_llc(loss, first, data, sampler=_SAMPLERS[name], progress=False)
    assert "jit(_advance)" in compiled
    assert compiled.total() <= _MOST, compiled
    with programs() as again:
        estimate_llc(loss, second, others, sampler=_SAMPLERS[name], progress=False)
    assert not again


def test_a_part_of_another_network_of_the_shape_compiles_no_program():
    """What is kept at w* is an argument of the programs, and no constant in them."""
    part = {"sampler": _SAMPLERS["sghmc"], "restrict": ["inner", "outer[0:2]"], "progress": False}
    (first, data), (second, others) = target(0), target(1)
    estimate_llc(loss, first, data, **part)
    with programs() as again:
        estimate_llc(loss, second, others, **part)
    assert not again, again


def test_another_row_of_an_array_compiles_no_program():
    """As the heads of a layer are; each has its own answer."""
    part = {"sampler": _SAMPLERS["sghmc"], "progress": False}
    params, data = target(0)
    first = estimate_llc(loss, params, data, restrict="inner[0]", **part)
    with programs() as again:
        second = estimate_llc(loss, params, data, restrict="inner[1]", **part)
    assert not again, again
    assert first.d == second.d and first.llc != second.llc
    jax.clear_caches()
    alone = estimate_llc(loss, params, data, restrict="inner[1]", **part)
    assert second.llc == alone.llc, "the row that it was asked for, and not the first"


def test_programs_are_forgotten_before_a_process_holds_too_many():
    @jax.jit
    def double(x):
        return 2 * x

    with programs() as compiled:
        double(jnp.ones(3))
        assert not forget_if_many(share=1.0)
        double(jnp.ones(3))
        assert compiled["jit(double)"] == 1
        assert forget_if_many(share=1e-6)
        double(jnp.ones(3))
    assert compiled["jit(double)"] == 2


def test_forgetting_programs_gives_their_memory_maps_back():
    def maps():
        return Path("/proc/self/maps").read_bytes().count(b"\n")

    jax.clear_caches()
    gc.collect()
    before = maps()
    for size in range(30):
        jnp.sort(jnp.ones(size + 1)).sum()
    held = maps() - before
    assert held > 100
    assert forget_if_many(share=1e-6)
    assert maps() - before < held / 2
