"""Import rules: core without Dagster, definitions without JAX, the package itself without both."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CORE = """
import importlib, pkgutil, lambda_hat_core
for found in pkgutil.walk_packages(lambda_hat_core.__path__, "lambda_hat_core."):
    importlib.import_module(found.name)
"""
CONFIG = """
import importlib, pkgutil
for package in (importlib.import_module(f"lambda_hat_core.{name}") for name in ("config", "plan")):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
"""
DEFINITIONS = """
import lambda_hat_assets._preload
from lambda_hat_assets import defs
defs.get_repository_def().load_all_definitions()
"""
NUMERICS = {"jax", "blackjax", "flowjax", "arviz", "matplotlib", "optuna", "equinox", "optax"}


def imported_by(code, folder):
    """Return the top-level packages that are loaded after some code has run."""
    listing = "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{listing}"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def rooms(package):
    """Return the rooms (folders and single modules) of a package that each room imports from."""
    folder = Path(__file__).parents[1] / package
    found = {}
    for file in folder.rglob("*.py"):
        room = file.relative_to(folder).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            inside = {name.split(".")[1] for name in names if name.startswith(f"{package}.")}
            if room != "__init__":
                found.setdefault(room, set()).update(inside - {room})
    return found


def test_rooms_of_core_import_each_other_in_one_direction():
    found = rooms("lambda_hat_core")
    assert "config" in found["plan"] and "vi" in found["sample"]
    order = list(TopologicalSorter(found).static_order())
    assert order.index("config") < order.index("samplers") < order.index("work")


def test_rooms_of_assets_import_each_other_in_one_direction():
    found = rooms("lambda_hat_assets")
    assert "project" in found["compute"] and "slurm" in found["jobs"]
    order = list(TopologicalSorter(found).static_order())
    assert order.index("cards") < order.index("compute") < order.index("assets")
    assert order.index("assets") < order.index("jobs") < order.index("definitions")


def test_core_imports_no_dagster(tmp_path):
    found = imported_by(CORE, tmp_path)
    assert "jax" in found
    assert not {name for name in found if name.startswith(("dagster", "lambda_hat_assets"))}


@pytest.mark.parametrize(
    "code",
    [
        DEFINITIONS,
        f"{CONFIG}\nimport lambda_hat_core.work.making, lambda_hat_core.work.client",
    ],
    ids=["definitions", "config and clients"],
)
def test_without_numerics(code, tmp_path):
    assert not NUMERICS & imported_by(code, tmp_path)


PUBLIC = """
import lambda_hat_core
names = dir(lambda_hat_core)
assert lambda_hat_core.__version__[0].isdigit()
assert not {"estimate_llc", "Llc", "CustomTarget", "__version__"} - set(names)
assert lambda_hat_core.Posterior(gamma=2.0).gamma == lambda_hat_core.Sgld().n_chains / 2
"""


@pytest.mark.parametrize(
    "code", ["import lambda_hat_assets; assert 'defs' in dir(lambda_hat_assets)", PUBLIC]
)
def test_the_packages_themselves_are_light(code, tmp_path):
    found = imported_by(code, tmp_path)
    assert not {name for name in found if name.startswith("dagster")} | (NUMERICS & found)


def test_every_sampler_is_public():
    import lambda_hat_core
    from lambda_hat_core.config.samplers.known import SAMPLERS

    for model in SAMPLERS.values():
        assert getattr(lambda_hat_core, model.__name__) is model
    with pytest.raises(AttributeError, match="no attribute estimate"):
        lambda_hat_core.estimate  # noqa: B018
