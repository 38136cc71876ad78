"""Write one page that compares two experiments: differences with errors, and both verdicts."""

import argparse
from pathlib import Path

from lambda_hat_assets.commands import CONFIG, open_store
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.store.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `compare`."""
    what = "an experiment: its name or path, or the name of one with changed values"
    parser.add_argument("first", help=what)
    parser.add_argument("second", help=f"{what}, minus the first")
    parser.add_argument(
        "--out", type=Path, help="the page; by default lambda_hat_FIRST_SECOND.html here"
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path. Nothing is computed."""
    from lambda_hat_core.gallery.compare import comparison

    store = open_store()
    first, second = (_gallery(store, name) for name in (args.first, args.second))
    out = args.out or Path(f"lambda_hat_{first.experiment}_{second.experiment}.html")
    out.write_text(comparison(store, first, second))
    print(out)
    return 0


def _gallery(store: Store, name: str) -> Gallery:
    """Return the runs of an experiment; one with changed values is known to the store."""
    from lambda_hat_core.gallery.members import gallery_of
    from lambda_hat_core.plan.plan import load_plan
    from lambda_hat_core.store.damaged import read_asked

    experiment, changes = read_asked(store).get(name, (name, []))
    if not changes:
        return gallery_of(load_plan(name, CONFIG))
    gallery = gallery_of(load_plan(experiment, CONFIG, changes))
    return gallery.model_copy(update={"experiment": name})
