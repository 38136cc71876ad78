"""The id of a custom target covers its module, what that imports, and the files it reads."""

import os
import py_compile
import sys

import pytest

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.plan.factory import source_of

MODULE = """
import json
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget
from tables import helpers
from scale import SCALE

def make(key, *, table=None):
    rows = np.loadtxt(table or __file__.replace("own_target.py", "table.csv"))
    def loss(w, batch):
        return jnp.mean((helpers.forward(w, batch) * SCALE - 1.0) ** 2)
    return CustomTarget(np.ones(1), loss, rows, len(rows))

def hidden(key):
    import importlib
    return importlib.import_module("by_name").make(key)

def scratch(key):
    with open("scratch.txt", "w") as file:
        file.write("1 2 3")
    rows = np.loadtxt("scratch.txt")
    return CustomTarget(np.ones(1), lambda w, b: jnp.mean((w - b) ** 2), rows, 3)
"""
HELPERS = "from . import deeper\ndef forward(w, x):\n    return deeper.FACTOR * w * x\n"


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Return a folder on PYTHONPATH with a module, a package and a table; the cwd is beside it."""
    code = tmp_path / "code"
    (code / "tables").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (code / "own_target.py").write_text(MODULE)
    (code / "tables" / "__init__.py").write_text("")
    (code / "tables" / "helpers.py").write_text(HELPERS)
    (code / "tables" / "deeper.py").write_text("FACTOR = 1.0\n")
    (code / "tables" / "unused.py").write_text("X = 1\n")
    (code / "scale.py").write_text("SCALE = 2.0\n")
    (code / "by_name.py").write_text("from own_target import make\n")
    (code / "table.csv").write_text("\n".join(map(str, range(9))))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", str(code))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield code
    for name in ("own_target", "tables", "tables.helpers", "tables.deeper", "scale", "by_name"):
        sys.modules.pop(name, None)


def custom(function="make", **fields):
    return Custom(factory=f"own_target:{function}", **fields)


def test_everything_that_it_imports_is_in_the_source_dependencies_first(user):
    modules = list(source_of(custom()).modules)
    assert set(modules) == {"own_target", "tables", "tables.helpers", "tables.deeper", "scale"}
    assert modules.index("tables.deeper") < modules.index("tables.helpers") < len(modules) - 1
    assert modules[-1] == "own_target"


@pytest.mark.parametrize(
    "name",
    ["own_target.py", "tables/__init__.py", "tables/helpers.py", "tables/deeper.py", "scale.py"],
)
def test_a_change_of_any_of_its_modules_changes_the_id(user, name):
    before = source_of(custom()).sha256
    (user / name).write_text((user / name).read_text() + "\nMORE = 1\n")
    assert source_of(custom()).sha256 != before


def test_a_change_elsewhere_does_not(user):
    before = source_of(custom()).sha256
    (user / "tables" / "unused.py").write_text("X = 2\n")
    (user / "table.csv").write_text("1\n")
    assert source_of(custom()).sha256 == before


def test_named_files_are_in_the_id_by_their_content(user):
    ways = {"files": {"files": ("table.csv",)}, "kwargs": {"kwargs": {"table": "table.csv"}}}
    ways["nested"] = {"kwargs": {"a": [{"b": "table.csv"}], "c": "no such file"}}
    before = {way: source_of(custom(**fields)).sha256 for way, fields in ways.items()}
    plain = source_of(custom()).sha256
    (user / "table.csv").write_text("7\n")
    for way, fields in ways.items():
        assert source_of(custom(**fields)).sha256 not in (before[way], plain)


def test_a_folder_stands_for_the_files_in_it(user):
    (user / "data" / "deep").mkdir(parents=True)
    (user / "data" / "deep" / "a.npy").write_text("1")
    first = source_of(custom(files=("data",)))
    assert list(first.files) == ["data/deep/a.npy"]
    (user / "data" / "b.npy").write_text("2")
    assert source_of(custom(files=("data",))).sha256 != first.sha256


def test_the_id_does_not_depend_on_where_the_folders_are(user, tmp_path, monkeypatch):
    before = source_of(custom(files=("table.csv",))).sha256
    user.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    assert source_of(custom(files=("table.csv",))).sha256 == before


def test_modules_that_import_each_other_end(user):
    (user / "scale.py").write_text("import own_target\nSCALE = 2.0\n")
    assert "scale" in source_of(custom()).modules


def build(**fields):
    from lambda_hat_core import targets

    spec = TargetSpec(model=custom(**fields), data=NoData())
    return targets.build(spec, lambda line: None)


def test_a_file_that_is_not_named_is_refused(x64, user):
    words = r"opened .*table\.csv, which is not part of the target's id; .* model\.files: \["
    with pytest.raises(ValueError, match=words):
        build()
    assert build(files=("table.csv",)).meta["n"] == 9


def test_a_file_of_the_working_directory_is_refused_too(x64, user, tmp_path):
    (tmp_path / "work" / "here.csv").write_text("1\n2\n")
    assert build(kwargs={"table": "here.csv"}).meta["n"] == 2
    (user / "tables" / "deeper.py").write_text(
        "with open('here.csv') as file:\n    FACTOR = float(file.readline())\n"
    )
    with pytest.raises(ValueError, match=r"opened here\.csv, which is not part"):
        build(files=("table.csv",))


def test_a_module_that_is_imported_by_name_is_refused(x64, user):
    with pytest.raises(ValueError, match=r"opened .*by_name\.py, which is not part"):
        build(function="hidden", files=("table.csv",))
    sys.modules.pop("by_name")
    assert build(function="hidden", files=("table.csv", "by_name.py")).meta["n"] == 9


def test_a_file_that_it_wrote_itself_is_no_input(x64, user):
    assert build(function="scratch").meta["n"] == 3


def test_a_changed_helper_is_loaded_again_with_what_imports_it(x64, user, monkeypatch):
    """Also if bytecode was written in the same second, of a source of the same size."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    deeper = user / "tables" / "deeper.py"
    py_compile.compile(str(deeper))
    changed = deeper.stat().st_mtime
    fields = {"files": ("table.csv",)}
    before = build(**fields).meta["loss0"]
    deeper.write_text("FACTOR = 3.0\n")
    os.utime(deeper, (changed, int(changed) + 0.5))
    after = build(**fields).meta["loss0"]
    rows = range(9)
    assert before == pytest.approx(sum((2 * x - 1) ** 2 for x in rows) / 9)
    assert after == pytest.approx(sum((6 * x - 1) ** 2 for x in rows) / 9)


def test_a_named_file_that_does_not_exist_is_one_line(plan_of, user):
    entry = '{model: {kind: custom, factory: "own_target:make", files: [nowhere.csv]}}'
    with pytest.raises(ValueError, match=r'files is \["nowhere\.csv"\]: there is no file nowhere'):
        plan_of(f"experiment: e\ntargets: [{entry}]\nsamplers: [{{name: nuts}}]\n")
