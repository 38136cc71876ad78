"""The table of mutants matches the code, and the tool tells killed mutants from surviving ones."""

import pytest

from tests.mutants.copies import ROOT, Copy
from tests.mutants.table import Mutant, modules, mutants

FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-ra'\n",
    "config/nothing.yaml": "",
    "lambda_hat_core/__init__.py": "",
    "lambda_hat_core/deep/sums.py": "def twice(x):\n    return 2 * x\n\n\nUNSEEN = 1\n",
    "tests/core/test_sums.py": "from lambda_hat_core.deep.sums import twice\n\n\n"
    "def test_twice():\n    assert twice(3) == 6\n",
}


@pytest.fixture
def project(tmp_path):
    """A project with two functions and their tests."""
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def mutant(text, instead, *tests):
    return Mutant("one", text, instead, tests or ("test_sums.py::test_twice",))


def test_every_mutant_has_one_place_and_existing_tests():
    here = modules(ROOT)
    for one in mutants():
        path, mistaken = one.applied(here)
        assert mistaken != here[path]
        assert one.node_ids(ROOT)


@pytest.mark.parametrize(
    ("text", "said"),
    [("3 * x", "found 0 times, in no file"), ("x", "found 2 times, in sums.py")],
)
def test_a_text_that_does_not_occur_exactly_once_is_refused(project, text, said):
    with pytest.raises(ValueError, match=said):
        mutant(text, "y").applied(modules(project))


def test_a_test_that_does_not_exist_is_refused(project):
    with pytest.raises(ValueError, match=r"no test test_sums\.py::test_thrice"):
        mutant("2 * x", "x", "test_sums.py::test_thrice").node_ids(project)


def test_mutants_are_killed_survive_or_are_broken_and_leave_nothing(project, tmp_path):
    copy = Copy(tmp_path / "copy", like=project)
    copy.test_all(["tests/core/test_sums.py"], 1)
    killed = copy.outcome(mutant("2 * x", "2 + x"))
    assert (killed.state, killed.file) == ("killed", "sums.py")
    assert killed.by.startswith("test_sums.py::test_twice: assert 5 == 6")
    assert copy.outcome(mutant("UNSEEN = 1", "UNSEEN = 2")).state == "SURVIVED"
    assert copy.outcome(mutant("2 * x", "2 * z")).state == "BROKEN"
    for root in (project, copy.root):
        for name in ("lambda_hat_core/deep/sums.py", "tests/core/test_sums.py"):
            assert (root / name).read_text() == FILES[name]
    (copy.root / "lambda_hat_core/deep/sums.py").write_text("def twice(x):\n    return x\n")
    with pytest.raises(RuntimeError, match="without any mutant the tests do not pass"):
        copy.test_all(["tests/core/test_sums.py"], 1)
