"""A project made by `lambda-hat init`, with the package from a wheel and without the checkout."""

import json
import subprocess

import pytest

from lambda_hat_assets import cli
from tests.assets.conftest import FAKE, ROOT
from tests.wheel import program, unpacked

FILES = {
    ".env",
    ".gitignore",
    "README.md",
    "config/experiment/default.yaml",
    "dagster.yaml",
    "my_targets.py",
    "workspace.yaml",
}
EXPORTED = {"DAGSTER_MODULE_NAME": "lambda_hat_assets"}
QUICK = """
experiment: quick
targets:
  - {model: {kind: custom, factory: "my_targets:make_target", kwargs: {width: 2}}, training: few}
samplers: [{name: mala, overrides: {n_draws: 40, n_burn: 10, n_warmup: 20}}]
posterior: {gamma: 100.0}
"""


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_a_folder_has_is_kept(tmp_path, capsys):
    (tmp_path / "README.md").write_text("mine")
    assert cli.main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'README.md'} exists and is kept" in said
    assert files(tmp_path) == FILES and (tmp_path / "README.md").read_text() == "mine"
    for name in (".env", "dagster.yaml", "workspace.yaml"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs a program in a new project, and returns what it printed."""
    root = tmp_path_factory.mktemp("installed")
    env = unpacked(root / "wheel")
    project = root / "project"

    def run(*words, **variables):
        done = subprocess.run(
            [program(words[0]), *words[1:]],
            cwd=project if project.exists() else root,
            env=env | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("lambda-hat", "init", "project").endswith("next: cd project && lambda-hat run\n")
    assert files(project) == FILES
    run.project, run.site = project, env["PYTHONPATH"]
    return run


def test_it_runs_what_the_factory_makes(run):
    asked = "import lambda_hat_core, lambda_hat_assets as a; print(lambda_hat_core, a)"
    assert run("python", "-c", asked).count(run.site) == 2
    (run.project / "config" / "training").mkdir()
    (run.project / "config" / "training" / "few.yaml").write_text("steps: 50\npolish: none\n")
    (run.project / "config" / "experiment" / "quick.yaml").write_text(QUICK)
    run("lambda-hat", "run", "quick")
    found = run("lambda-hat", "sql", "select sampler, d, n_draws, isfinite(llc) from llc", "--csv")
    assert found.splitlines()[1:] == ["mala,10,40,True"]


def test_experiments_and_presets_of_the_package_are_beside_those_of_the_folder(run):
    assert "my_targets:make_target" in run("lambda-hat", "plan")
    shipped = [line for line in run("lambda-hat", "plan", "smoke").splitlines() if "tgt_" in line]
    folder = run.project / "config"
    (folder / "training").mkdir(exist_ok=True)
    (folder / "training" / "fast.yaml").write_text("steps: 7\n")
    own = [line for line in run("lambda-hat", "plan", "smoke").splitlines() if "tgt_" in line]
    assert any("deep linear" in line for line in {*shipped} - {*own})
    assert any("quadratic" in line for line in {*shipped} & {*own})


def test_the_job_runs_from_there(run):
    tag = {"command": FAKE, "env": {"PYTHONPATH": str(ROOT)}}
    (run.project / "config" / "card").mkdir()
    card = run.project / "config" / "card" / "local.yaml"
    card.write_text(json.dumps({"tags": {"float32": tag, "float64": tag}}))
    home = {"LAMBDA_HAT_HOME": "fake"}
    run("dagster", "job", "execute", "-j", "llc", **home, **EXPORTED)
    query = "select experiment, count(*) from experiments group by all"
    found = run("lambda-hat", "sql", "--csv", query, **home)
    assert found.splitlines()[1:] == ["default,2"]
