"""Read every file of the store again and list what is corrupt. Exit code 1 if anything is."""

import argparse

from lambda_hat_assets.commands import open_store
from lambda_hat_core.store import compiled, files
from lambda_hat_core.store.damaged import REASON, damaged, records_of
from lambda_hat_core.store.store import FOLDERS, Folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    parser.add_argument(
        "--remove", action="store_true", help="remove corrupt folders, so that they are made again"
    )


def run(args: argparse.Namespace) -> int:
    """Print one line per corrupt folder or file, then a summary."""
    store = open_store()
    folders: list[tuple[Folder, str]] = [
        (kind, id)
        for kind in FOLDERS
        for id in store.list(kind)
        if kind != "tuning" and not store.is_leased(kind, id)
    ]
    records = list(records_of(store))
    wrong = {store.path(kind, id): store.verify(kind, id) for kind, id in folders}
    wrong |= dict.fromkeys(damaged(records), REASON)
    programs = compiled.partial(compiled.programs(store))
    wrong |= dict.fromkeys(programs, "it is not as JAX wrote it")
    corrupt = {path: reason for path, reason in wrong.items() if reason is not None}
    for path, reason in corrupt.items():
        if args.remove:
            files.discard(path)
        print(f"{path}: {reason}{' (removed)' if args.remove else ''}")
    print(
        f"{len(folders)} folders and {len(records)} records of {store.root} read again, "
        f"{len(corrupt)} corrupt"
    )
    return 1 if corrupt else 0
