"""Make a folder for a project: a first experiment, a factory to fill in, and Dagster's files."""

import argparse
import shutil
from pathlib import Path

SCAFFOLD = Path(__file__).parents[1] / "scaffold"
"""The files of a new project."""

_HIDDEN = {"env": ".env", "gitignore": ".gitignore"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `init`."""
    parser.add_argument("folder", type=Path, help="the folder; it is created if necessary")


def run(args: argparse.Namespace) -> int:
    """Write the files that the folder lacks, and print the paths of all of them."""
    for source in sorted(file for file in SCAFFOLD.rglob("*") if file.is_file()):
        if source.suffix == ".pyc":
            continue
        inside = source.relative_to(SCAFFOLD)
        path = args.folder / inside.with_name(_HIDDEN.get(inside.name, inside.name))
        if path.exists():
            print(f"{path} exists and is kept; that of a new project is {source}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        print(path)
    where = "" if args.folder.resolve() == Path.cwd() else f"cd {args.folder} && "
    print(f"next: {where}lambda-hat run")
    return 0
