"""The mutants: mistakes, each of which some test must notice, and where they belong."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "lambda_hat_core"
TESTS = Path("tests", "core")


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        name: in words, what is wrong.
        text: what stands in one file of the package, there and once.
        instead: what is written in its place.
        tests: files or node ids in `TESTS`; one of them must fail.
    """

    name: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def place(self, root: Path) -> Path:
        """Return the file that holds the text, wherever in the package it lies.

        Raises:
            ValueError: unless the text is found exactly once, and the result is Python.
        """
        found = {path: path.read_text().count(self.text) for path in _modules(root)}
        if sum(found.values()) != 1:
            where = ", ".join(path.name for path, count in found.items() if count) or "no file"
            raise ValueError(
                f"mutant '{self.name}': its text must stand in {PACKAGE} once, but is found "
                f"{sum(found.values())} times, in {where}; write it anew in tests/mutants:\n"
                f"{self.text}"
            )
        path = max(found, key=lambda path: found[path])
        compile(self.applied(path), path.name, "exec")
        return path

    def applied(self, path: Path) -> str:
        """Return the file's text with the mistake in it."""
        return path.read_text().replace(self.text, self.instead)

    def node_ids(self, root: Path) -> list[str]:
        """Return the tests as pytest wants them.

        Raises:
            ValueError: if one does not exist.
        """
        return [self._node_id(root, test) for test in self.tests]

    def _node_id(self, root: Path, test: str) -> str:
        file, _, name = test.partition("::")
        paths = [path.relative_to(root) for path in (root / TESTS).rglob(file)]
        bare = name.partition("[")[0]
        if len(paths) != 1 or (bare and f"def {bare}(" not in (root / paths[0]).read_text()):
            raise ValueError(f"mutant '{self.name}': there is no test {test} in {TESTS}")
        return f"{paths[0].as_posix()}::{name}" if name else paths[0].as_posix()


def _modules(root: Path) -> Iterator[Path]:
    return (path for path in sorted((root / PACKAGE).rglob("*.py")))


def mutants() -> list[Mutant]:
    """Return all of them, table by table.

    Raises:
        ValueError: if two have one name, or one changes nothing.
    """
    found = []
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            found.append(Mutant(**entry | {"tests": tuple(entry["tests"])}))
    names = [mutant.name for mutant in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two mutants have one name: {sorted(names)}")
    for mutant in found:
        if mutant.text == mutant.instead or not mutant.tests:
            raise ValueError(f"mutant '{mutant.name}' changes nothing, or names no test")
    return found
