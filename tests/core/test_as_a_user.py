"""Known answers with the XLA optimisation that users have, in processes with a worker's flags.

The other tests lower the optimisation level, which gives other instructions in another order.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_hat_assets.cards.environment import one_process

ROOT = Path(__file__).parents[2]
BIAS = {
    "nuts": {"quadratic": 0.0, "singular": 0.0},
    "mclmc": {"quadratic": 0.01, "singular": 0.015},
    "sgld": {"quadratic": 0.02, "singular": 0.05},
    "vi": {"quadratic": 0.01, "singular": 0.05},
}
"""Bias relative to the exact value: energy errors, step size, error of the family."""
SAMPLERS = {"float64": ("nuts", "mclmc"), "float32": ("sgld", "vi")}


@pytest.fixture(scope="module")
def found():
    """Return the output of one process per dtype: estimates, and the options of XLA."""
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    plain.pop("JAX_DISABLE_MOST_OPTIMIZATIONS", None)
    children = {
        dtype: subprocess.Popen(
            [sys.executable, "-m", "tests.core.user", *names],
            cwd=ROOT,
            env=plain | one_process(dtype, 1),
            stdout=subprocess.PIPE,
            text=True,
        )
        for dtype, names in SAMPLERS.items()
    }
    said = {dtype: child.communicate()[0] for dtype, child in children.items()}
    assert not any(child.returncode for child in children.values())
    return {dtype: json.loads(text) for dtype, text in said.items()}


@pytest.mark.parametrize("dtype", SAMPLERS)
def test_processes_use_the_same_compiler_options_as_a_user(found, dtype):
    told = found[dtype]["told"]
    assert told["x64"] == (dtype == "float64")
    assert told["unoptimised"] is False
    assert "optimization_level" not in told["flags"]


@pytest.mark.parametrize("case", ["quadratic", "singular"])
@pytest.mark.parametrize("name", BIAS)
def test_samplers_meet_exact_values(found, name, case):
    dtype = next(dtype for dtype, names in SAMPLERS.items() if name in names)
    mean, se, exact = found[dtype]["found"][name][case]
    assert se < 0.03 * exact
    assert abs(mean - exact) < 4 * se + BIAS[name][case] * exact, (mean, se, exact)
