"""The recipe "A new sampler" of CONTRIBUTING.md, followed step by step in a copy of the code."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy"

D, N, GAMMA = 4, 1000, 50.0
"""As in toy/use.py."""

BIAS = 0.1 / 4 / (1 - 0.1 / 4)
"""Of the toy sampler at a step of 0.1 / curvature: its variance is 1 / (1 - 0.1 / 4) times that of
the posterior in every direction, since all have one curvature."""

IMPORT = "from lambda_hat_core.config.samplers.toy import Toy\n"
CASE = """        case Toy():
            return toy.build(key, posterior, spec, **found)
"""


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has {text.count(old)} times: {old}"
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the core in which the recipe was followed; `undone.py` has no case of `match`."""
    home = tmp_path_factory.mktemp("copy")
    core = home / "lambda_hat_core"
    shutil.copytree(ROOT / "lambda_hat_core", core, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "config").mkdir()
    # 1. The settings, and the lists of all samplers.
    shutil.copy(TOY / "settings.py", core / "config" / "samplers" / "toy.py")
    known = core / "config" / "samplers" / "known.py"
    edited(known, "import Sghmc, Sgld, Sgnht\n", f"import Sghmc, Sgld, Sgnht\n{IMPORT}")
    edited(known, "| Sgnht\n", "| Sgnht | Toy\n")
    public = core / "__init__.py"
    edited(public, "import Sghmc, Sgld, Sgnht\n", f"import Sghmc, Sgld, Sgnht\n    {IMPORT}")
    edited(public, '    "Vi",\n', '    "Toy",\n    "Vi",\n')
    # 2. The kernel.
    shutil.copy(TOY / "kernel.py", core / "samplers" / "toy.py")
    # 3. The case. The imports are edited first and the case last, so that `undone.py` lacks only
    # the case.
    build = core / "samplers" / "build.py"
    edited(build, "import Sghmc, Sgld, Sgnht\n", f"import Sghmc, Sgld, Sgnht\n{IMPORT}")
    edited(build, "import sghmc, sgld, sgnht\n", "import sghmc, sgld, sgnht, toy\n")
    shutil.copy(build, core / "samplers" / "undone.py")
    edited(build, "    assert_never(spec)\n", f"{CASE}    assert_never(spec)\n")
    return home


def test_the_recipe_names_every_file_that_it_changes(copy):
    recipe = (ROOT / "CONTRIBUTING.md").read_text().partition("## A new sampler\n")[2]
    recipe = recipe.partition("\n## ")[0]
    files = [file.relative_to(copy) for file in copy.rglob("*.py")]
    old = [file for file in files if (ROOT / file).is_file()]
    changed = {str(file) for file in old if (ROOT / file).read_text() != (copy / file).read_text()}
    assert changed == {
        "lambda_hat_core/__init__.py",
        "lambda_hat_core/config/samplers/known.py",
        "lambda_hat_core/samplers/build.py",
    }
    for name in (
        "`known.py`",
        "`lambda_hat_core/__init__.py`",
        "`lambda_hat_core/samplers/build.py`",
    ):
        assert name in recipe
    assert len(files) - len(old) == 3, "the settings, the kernel, and undone.py"


def test_a_sampler_made_by_the_recipe_finds_a_known_coefficient(copy):
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDA_HAT")}
    command = [sys.executable, str(TOY / "use.py")]
    done = subprocess.run(
        command,
        cwd=copy,
        env=env | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["home"]).is_relative_to(copy)
    nbeta = N / math.log(N)
    exact = D / 2 * nbeta / (nbeta + GAMMA)
    assert found["se"] < 0.012 * exact
    assert abs(found["llc"] - exact) < 4 * found["se"] + BIAS * exact
    assert found["dtype"] == "float64" and found["is_toy"]


def test_pyright_reports_the_missing_case_and_nothing_else(copy):
    files = ("build.py", "undone.py")
    settings = {
        "include": [f"lambda_hat_core/samplers/{name}" for name in files],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.12",
    }
    (copy / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(files)
    complaints = [(Path(item["file"]).name, item["message"]) for item in told["generalDiagnostics"]]
    (complaint,) = complaints
    assert complaint[0] == "undone.py" and '"Toy" is not assignable to type "Never"' in complaint[1]
