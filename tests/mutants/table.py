"""The mutants: mistakes that some test must notice, and the places where they are made."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGE = "lambda_hat_core"
TESTS = Path("tests", "core")


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        name: a description of the mistake.
        text: a text that occurs exactly once in the files of the package.
        instead: the text that replaces it.
        tests: files or node ids in `TESTS`; one of them must fail.
    """

    name: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def applied(self, modules: Mapping[Path, str]) -> tuple[Path, str]:
        """Return the file that contains the text, and its content with the mistake.

        Raises:
            ValueError: unless the text is found exactly once.
            SyntaxError: if the result is not Python.
        """
        found = {path: text.count(self.text) for path, text in modules.items()}
        holders = [path for path, count in found.items() if count]
        if sum(found.values()) != 1:
            where = ", ".join(path.name for path in holders) or "no file"
            raise ValueError(
                f"mutant '{self.name}': its text must occur once in {PACKAGE}, but is found "
                f"{sum(found.values())} times, in {where}; correct it in tests/mutants:\n"
                f"{self.text}"
            )
        mistaken = modules[holders[0]].replace(self.text, self.instead)
        compile(mistaken, holders[0].name, "exec")
        return holders[0], mistaken

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


def modules(root: Path) -> dict[Path, str]:
    """Return the package's files under `root` with their texts."""
    return {path: path.read_text() for path in sorted((root / PACKAGE).rglob("*.py"))}


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
