"""Notebook and experiment, both precisions, every sampler, size and shape of params, in pairs.

The same loss can be used in a notebook or, through a factory, in an experiment. An entry point, a
precision or a branch of the driver may fail alone, so every pair of values of these six factors
occurs in short runs, but for the shape of params with the sampler, which at these sizes sees one
flat vector of any params. Where the answer is exact, it must be found.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.core import doors

ROOT = Path(__file__).parents[2]

PLACES = {
    ("notebook", "float32"): (
        ("squares", "below", "array"),
        ("potential", "above", "dict"),
        ("classes", "below", "module"),
    ),
    ("notebook", "float64"): (
        ("layer", "above", "array"),
        ("network", "below", "dict"),
        ("squares", "above", "module"),
    ),
    ("experiment", "float32"): (
        ("squares", "above", "array"),
        ("classes", "below", "dict"),
        ("layer", "above", "module"),
    ),
    ("experiment", "float64"): (
        ("network", "below", "array"),
        ("potential", "above", "dict"),
        ("squares", "below", "module"),
    ),
}
"""The losses that each process samples: few, because compiling a new one takes seconds."""

FACTORS = ("door", "process", "sampler", "size", "params", "chains")

PAIRED = tuple(set(itertools.combinations(FACTORS, 2)) - {("sampler", "params")})

ALIKE = {"loss": "squares", "size": "below", "params": "array", "chains": 4}
"""A target that all processes sample, with bitwise identical draws."""

BIAS = {"mclmc": 0.03, "sgld": 0.1, "sghmc": 0.1, "sgnht": 0.1, "vi": 0.06}
"""Relative bias of samplers with steps of this length, and of a mixture of one component."""

SE_MAX = 0.12


def candidates():
    for (door, process), losses in PLACES.items():
        for (loss, size, params), sampler, chains in itertools.product(losses, doors.SHORT, (1, 4)):
            yield {
                "door": door,
                "process": process,
                "sampler": sampler,
                "loss": loss,
                "size": size,
                "params": params,
                "chains": chains,
            }


def pairs(case):
    return {(a, case[a], b, case[b]) for a, b in PAIRED}


def design():
    """Return cases that contain every pair, chosen greedily by the number of new pairs.

    Among equal cases the one is chosen whose process, and then whose loss, occurs least often.
    """
    rows = list(candidates())
    missing, chosen = set().union(*map(pairs, rows)), []

    def gain(row):
        same = [sum(row[name] == old[name] for name in ("door", "process")) == 2 for old in chosen]
        losses = [row["loss"] == old["loss"] for old in chosen]
        return len(pairs(row) & missing), -sum(same), -sum(losses)

    while missing:
        chosen.append(max(rows, key=gain))
        missing -= pairs(chosen[-1])
    return chosen


CASES = design()


def test_every_pair_of_values_occurs():
    values = {name: {case[name] for case in candidates()} for name in FACTORS}
    assert {name: len(found) for name, found in values.items()} == {
        "door": 2,
        "process": 2,
        "sampler": 10,
        "size": 2,
        "params": 3,
        "chains": 2,
    }
    every = {(a, x, b, y) for a, b in PAIRED for x, y in itertools.product(values[a], values[b])}
    assert set().union(*map(pairs, CASES)) == every
    assert len(CASES) < 24


def of(door, process):
    return [case for case in CASES if (case["door"], case["process"]) == (door, process)]


def start(process, *arguments):
    env = os.environ | {"JAX_ENABLE_X64": str(int(process == "float64")), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", *map(str, arguments)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """The draws of every notebook case, by process; the last entries are those of ALIKE."""
    found = {}
    for process in ("float32", "float64"):
        alike = [{**ALIKE, "sampler": name} for name in ("nuts", "sgld")]
        file = tmp_path_factory.mktemp("doors") / f"{process}.json"
        file.write_text(json.dumps(of("notebook", process) + alike))
        start(process, "tests.core.doors", file)
        with np.load(file.with_suffix(".npz")) as draws:
            found[process] = [draws[str(i)] for i in range(len(draws.files))]
    return found


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """The same for the experiment, whose targets are built in float64."""
    from lambda_hat_core.analysis.traceio import load_trace
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.work.client import request

    home = tmp_path_factory.mktemp("home")
    alike = {"float32": {**ALIKE, "sampler": "sgld"}, "float64": {**ALIKE, "sampler": "nuts"}}
    runs = {
        process: [doors.run_of(case, process) for case in [*of("experiment", process), last]]
        for process, last in alike.items()
    }
    targets = {target.id: target for run, target in itertools.chain(*runs.values())}
    asked = {process: [request("runs", *specs) for specs in runs[process]] for process in runs}
    asked["float64"] = [request("targets", one) for one in targets.values()] + asked["float64"]
    for process in ("float64", "float32"):
        file = home / f"{process}.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in asked[process]))
        start(process, "lambda_hat_core.work.worker", "--home", home, "--requests", file)
    store = Store(home)
    return {
        process: [load_trace(store.path("runs", run.id) / "trace.nc").llc for run, _ in specs]
        for process, specs in runs.items()
    }


@pytest.mark.parametrize(("door", "process"), PLACES)
def test_both_entry_points_find_the_exact_answer(door, process, request):
    draws = request.getfixturevalue(f"{door}s")[process]
    for case, llc in zip(of(door, process), draws, strict=False):
        check(case, llc)


def check(case, llc):
    """Compare draws with the exact answer, or else with the bounds of a quadratic."""
    from lambda_hat_core.analysis.diagnostics import iid_mean, mcmc_mean

    assert np.isfinite(llc).all() and llc.shape[0] == case["chains"], case
    mean, se, _ = (iid_mean if case["sampler"] == "vi" else mcmc_mean)(llc)
    answer = doors.exact(case)
    if answer is None:
        assert 0 < mean < doors.dimension(case), (case, mean)
        return
    assert se < SE_MAX * answer, (case, se)
    assert abs(mean - answer) < 4 * se + BIAS.get(case["sampler"], 0.0) * answer, (case, mean, se)


def test_entry_points_and_processes_agree_to_the_bit(notebooks, experiments):
    """A run uses its sampler's dtype, in a process of any dtype, as a worker of that dtype does."""
    for first, second in zip(*(notebooks[process][-2:] for process in notebooks), strict=True):
        assert np.array_equal(first, second)
    nuts, sgld = notebooks["float32"][-2:]
    assert np.array_equal(sgld, experiments["float32"][-1])
    assert np.array_equal(nuts, experiments["float64"][-1])
