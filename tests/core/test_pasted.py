"""The examples of the pages work as they are pasted: experiments, factories, and lines of code."""

import ast
import csv
import importlib
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.core.plans import CONFIG
from tests.core.test_pages import BLOCK, ROOT, assert_alike

REST = {"targets": [{"model": {"kind": "quadratic"}}], "samplers": [{"name": "sgld"}]}
"""What a block of YAML leaves out if it shows a part of an experiment."""

EXPERIMENTS = ("calibration", "how-to-choose", "observables", "recipes", "tutorial")
"""Pages whose blocks of YAML are all experiments, or parts of one."""

NEEDED = """
import jax.numpy as jnp
import numpy as np

x = np.random.default_rng(0).normal(size=(500, 6))
params = jnp.ones(6)
data = (x, x @ np.ones(6))


def loss(params, batch):
    return jnp.mean((batch[0] @ params - batch[1]) ** 2)
"""

BUILD = """
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

from lambda_hat_core import targets
from lambda_hat_core.plan.plan import load_plan

specs = load_plan("mine", Path("config")).targets.values()
(spec,) = (spec for spec in specs if spec.model.kind == "custom")
made = targets.build(spec, lambda line: None)
print(made.meta["d"], made.meta["n"], made.meta["is_minimum"])
"""


def blocks(page, *languages):
    """Return the blocks of a page of the docs that are in some languages."""
    text = (ROOT / page).read_text()
    return [code for language, code in BLOCK.findall(text) if language in languages]


def cases(names, *languages):
    """Return page and block, for all blocks of some pages."""
    return [
        pytest.param(name, code, id=f"{name}-{count}")
        for name in names
        for count, code in enumerate(blocks(f"docs/{name}.md", *languages), 1)
    ]


def python(folder, *words):
    """Run Python in a project as a user would, and return what it printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LAMBDA_HAT", "DAGSTER"))}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout


def pasted(folder, name, code):
    file = folder / "config" / "experiment" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(code)


CLI = ("-m", "lambda_hat_assets.cli")


def test_the_experiment_of_the_tutorial_is_a_curve_of_points_that_are_ok(tmp_path):
    """All of its checkpoints are run."""
    (code,) = blocks("docs/tutorial.md", "yaml")
    pasted(tmp_path, "first", code)
    python(tmp_path, *CLI, "run", "first")
    page = (ROOT / "docs" / "tutorial.md").read_text()
    query = page.partition('lambda-hat sql "')[2].partition('"')[0]
    rows = csv.reader(python(tmp_path, *CLI, "sql", "--csv", query).splitlines())
    shown = [line.split() for line in page.partition("step   llc")[2].splitlines()[2:8]]
    head, *rows = rows
    assert head == ["step", "llc", "se", "verdict"]
    assert [row[0] for row in rows] == [row[0] for row in shown]
    assert {row[3] for row in (*rows, *shown)} == {"ok"} and len(rows) == 6
    for (_, here, se, _), (_, there, other, _) in zip(rows, shown, strict=True):
        assert abs(float(here) - float(there)) < 4 * np.hypot(float(se), float(other))


def test_the_experiment_and_the_factory_of_the_readme_work_together(tmp_path):
    (code,) = blocks("README.md", "yaml")
    pasted(tmp_path, "mine", code)
    (factory,) = (b for b in blocks("README.md", "python") if b.startswith("# my_module.py"))
    (tmp_path / "my_module.py").write_text(factory)
    told = python(tmp_path, *CLI, "plan", "mine")
    assert "my_module:make_target" in told and "mine: 3 targets, 0 exist; 9 runs" in told
    assert python(tmp_path, "-c", BUILD).split() == ["15", "500", "True"]


def test_the_pages_with_experiments_are_found():
    assert [len(blocks(f"docs/{name}.md", "yaml")) for name in EXPERIMENTS] == [1, 1, 1, 7, 1]


@pytest.mark.parametrize(("page", "code"), cases(EXPERIMENTS, "yaml"))
def test_an_experiment_on_a_page_is_valid(page, code, tmp_path, monkeypatch):
    from lambda_hat_core.plan.plan import load_plan

    (module,) = (b for b in blocks("docs/recipes.md", "python") if b.startswith("# my_module.py"))
    (tmp_path / "my_module.py").write_text(f"{module}\n\ndef at(key, checkpoint):\n    pass\n")
    (tmp_path / "my_target.py").write_text(module)
    (tmp_path / "run7").mkdir()
    for step in (10, 20):
        np.savez(tmp_path / "run7" / f"step_{step}.npz", w=np.zeros(2))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "pasted.yaml"
    file.write_text(yaml.safe_dump(REST | yaml.safe_load(code)))
    plan = load_plan(file, CONFIG)
    assert plan.targets or plan.trajectories
    assert plan.runs


def test_the_call_on_the_first_page_prints_what_is_beside_it(tmp_path):
    (call,) = blocks("docs/index.md", "py")
    network, *_ = blocks("docs/tutorial.md", "python")
    assert_alike(
        python(tmp_path, "-c", f"{network}\n{call}").strip(), call.strip().split("  # ")[1]
    )


def test_the_grid_of_the_page_on_calibration_runs(tmp_path):
    """It runs on a loss that the page leaves to the reader."""
    (sheet,) = blocks("docs/calibration.md", "py")
    shown = python(tmp_path, "-c", f"{NEEDED}\n{sheet}\nprint(grid)")
    assert shown.startswith("LlcGrid(12 cells; ") and "V_M is within 5% of 1" in shown


PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(("page", "code"), cases(PAGES, "py"))
def test_code_on_a_page_compiles_and_what_it_imports_exists(page, code):
    for node in ast.walk(ast.parse(code, page)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lambda_hat"):
            assert importlib.util.find_spec(str(node.module)), node.module
            if node.module == "lambda_hat_core.torch" and not importlib.util.find_spec("torch"):
                continue
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
