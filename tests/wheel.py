"""The package as people install it: a wheel that is built and unpacked into a folder."""

import os
import sys
import zipfile
from contextlib import chdir
from pathlib import Path

ROOT = Path(__file__).parents[1]


def unpacked(folder):
    """Build the wheel, unpack it into a folder, and return the environment that imports it."""
    from hatchling.build import build_wheel

    folder.mkdir()
    with chdir(ROOT):
        name = build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(folder / "site")
    ignored = ("DAGSTER", "LAMBDA_HAT", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    return env | {"PYTHONPATH": str(folder / "site")}


def program(name):
    """Return the path of a program of this environment."""
    return str(Path(sys.executable).with_name(name))
