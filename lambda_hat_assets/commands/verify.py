"""Read every file of the store again and list what is corrupt. Exit code 1 if anything is."""

import argparse

from lambda_hat_assets.commands import open_store
from lambda_hat_core.store import files
from lambda_hat_core.store.damaged import REASON, damaged, records_of
from lambda_hat_core.store.store import FOLDERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    parser.add_argument(
        "--remove", action="store_true", help="remove corrupt folders, so that they are made again"
    )


def run(args: argparse.Namespace) -> int:
    """Print one line per corrupt folder, then a summary."""
    store = open_store()
    checked = corrupt = 0
    for kind in FOLDERS:
        for id in store.list(kind):
            if kind == "tuning" or store.is_leased(kind, id):
                continue
            checked += 1
            problem = store.verify(kind, id)
            if problem is None:
                continue
            corrupt += 1
            if args.remove:
                store.remove(kind, id)
            print(f"{store.path(kind, id)}: {problem}{' (removed)' if args.remove else ''}")
    records = list(records_of(store))
    for path in damaged(records):
        corrupt += 1
        if args.remove:
            files.remove(path)
        print(f"{path}: {REASON}{' (removed)' if args.remove else ''}")
    print(
        f"{checked} folders and {len(records)} records of {store.root} read again, "
        f"{corrupt} corrupt"
    )
    return 1 if corrupt else 0
