"""Copies of the project, in each of which one mutant at a time is tested."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

from tests.mutants.table import PACKAGE, TESTS, Mutant, modules

ROOT = Path(__file__).parents[2]
_COPIED = (PACKAGE, "tests", "config", "pyproject.toml")
_TIMEOUT = 900.0
_NOT_RUN = r"(NameError|ImportError|ModuleNotFoundError|AttributeError|SyntaxError|TypeError)\b"
"""A mutant that causes one of these errors is not a mistake in a number."""

State = Literal["killed", "SURVIVED", "BROKEN"]


class Outcome(NamedTuple):
    """The outcome of a mutant.

    Attributes:
        mutant: the mutant.
        file: the file that contains it.
        state: killed (a test failed), survived, or broken (it could not be tested).
        by: the test that failed, with the beginning of its message.
        seconds: the duration of the tests.
    """

    mutant: Mutant
    file: str
    state: State
    by: str
    seconds: float

    def __str__(self) -> str:
        """Return one line."""
        line = f"{self.state:8}  {self.mutant.name} ({self.file}), {self.seconds:.0f} s"
        return f"{line}: {self.by}" if self.by else line


class Copy:
    """A copy of the project at `root`; its tests import the copy and nothing of the original."""

    def __init__(self, root: Path, like: Path = ROOT):
        self.root = root
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "COLUMNS": "400",
            # What a mutant does not change was compiled before; what it changes is kept as well.
            "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
        }
        for name in _COPIED:
            if (like / name).is_dir():
                # With its bytecode, which copy2's times keep valid.
                shutil.copytree(like / name, root / name)
            else:
                shutil.copy2(like / name, root / name)
        self._check_imports()

    def _check_imports(self) -> None:
        code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
        said = self._python("-c", code)
        if not Path(said.stdout.strip()).is_relative_to(self.root):
            raise RuntimeError(f"the copy in {self.root} imports {said.stdout}{said.stderr}")

    def test_all(self, tests: list[str], processes: int) -> None:
        """Run tests on the copy as it is.

        Raises:
            RuntimeError: with their output, unless all pass.
        """
        words = ("-n", str(processes), "--dist", "loadfile") if processes > 1 else ()
        said = self._python("-m", "pytest", "-q", "-p", "no:cacheprovider", *words, *tests)
        if said.returncode != 0:
            raise RuntimeError(f"without any mutant the tests do not pass:\n{said.stdout[-4000:]}")

    def outcome(self, mutant: Mutant) -> Outcome:
        """Apply a mutant, run its tests until one fails, and revert the mutant."""
        here = modules(self.root)
        path, mistaken = mutant.applied(here)
        times = path.stat()
        began = time.perf_counter()
        try:
            path.write_text(mistaken)
            # Bytecode of a source of the same size and second would be taken for the mutant's.
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 10**10))
            state, by = self._judged(mutant.node_ids(self.root))
        finally:
            path.write_text(here[path])
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return Outcome(mutant, path.name, state, by, time.perf_counter() - began)

    def _judged(self, tests: list[str]) -> tuple[State, str]:
        words = ("-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
        try:
            said = self._python(*words, *tests, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "BROKEN", f"the tests took more than {_TIMEOUT:.0f} s"
        if said.returncode == 0:
            return "SURVIVED", ""
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", said.stdout, re.MULTILINE)
        if said.returncode != 1 or failed is None:
            return "BROKEN", said.stdout[-1000:] + said.stderr[-1000:]
        test, why = failed[1].removeprefix(f"{TESTS.as_posix()}/"), (failed[2] or "")[:80]
        return ("BROKEN" if re.match(_NOT_RUN, why) else "killed"), f"{test}: {why}"

    def _python(
        self, *words: str, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
