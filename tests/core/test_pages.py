"""The Python code of the docs runs as printed, and prints what the docs show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".pytest_cache" / "home"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)

RUN = """
import contextlib, io, json, sys
shared, printed = {"__name__": "page"}, []
for code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "page", "exec"), shared)
    printed.append(out.getvalue())
made = shared["make_target"](shared["jax"].random.key(0)) if "make_target" in shared else None
print(json.dumps([printed, type(made).__name__]))
"""

NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)(?: ± (\d+(?:\.\d+)?))?")

VERDICT = re.compile(r"], (ok|suspect|failed).*")

MADE_ON = "614f0d0a"
"""The processor on which the printed outputs were made. Other processors round differently, which
changes the chains."""


def pages():
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ):
        if "```python" in path.read_text():
            yield path.relative_to(ROOT)


def blocks(page):
    """Yield Python blocks, each with the output that is shown after it, or None."""
    found = BLOCK.findall((ROOT / page).read_text())
    for (language, code), (after, shown) in zip(found, [*found[1:], ("end", "")], strict=True):
        if language == "python":
            yield code, shown if after == "" and "print(" in code else None


def test_the_pages_with_python_are_found():
    found = {"README.md", "docs/along-training.md", "docs/observables.md", "docs/recipes.md"}
    assert {str(page) for page in pages()} == found | {"docs/tutorial.md"}
    assert [shown is not None for _, shown in blocks("docs/recipes.md")] == [True, True, False]


@pytest.mark.parametrize("page", [*pages()], ids=str)
def test_the_python_of_a_page_prints_the_output_on_the_page(page, tmp_path):
    """Run the code in one process as a reader would, without settings of JAX or of the tests."""
    from lambda_hat_core.store.process import processor

    codes, shown = zip(*blocks(page), strict=True)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(codes),
        env=plain | {"XDG_CACHE_HOME": str(CACHE), "JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed, made = json.loads(done.stdout.splitlines()[-1])
    assert made == ("CustomTarget" if any("make_target" in code for code in codes) else "NoneType")
    assert "about" in done.stderr  # the forecast
    for expected, text in zip(shown, printed, strict=True):
        if expected is None:
            continue
        if processor() == MADE_ON:
            assert text == expected
        for line, other in zip(text.splitlines(), expected.splitlines(), strict=True):
            assert_alike(*(VERDICT.sub("", one) for one in (line, other)))


def test_the_notebooks_run(tmp_path):
    """Run the cells of both in one process, each notebook with names of its own."""
    found = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in found] == ["along_training", "one_call"]
    cells = []
    for path in found:
        notebook = json.loads(path.read_text())
        codes = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
        assert not any(c.get("outputs") for c in notebook["cells"]), "outputs are not kept"
        cells += [*codes, "del loss" if "def loss" in codes[0] else "del potential"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN],
        input=json.dumps(cells),
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def assert_alike(line, expected):
    """Check that words are equal and that estimates agree within four standard errors."""
    assert NUMBER.sub("#", line) == NUMBER.sub("#", expected)
    found = zip(NUMBER.findall(line), NUMBER.findall(expected), strict=True)
    for (here, se), (there, other) in found:
        if se:
            assert abs(float(here) - float(there)) < 4 * np.hypot(float(se), float(other))
