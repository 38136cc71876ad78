"""Query the views of all results (llc, targets, draws, ...), also while runs are in progress."""

import argparse
import sys

from lambda_hat_assets.commands import open_store
from lambda_hat_core.store.damaged import left_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `sql`."""
    parser.add_argument("query", help='such as "select sampler, llc, llc_se from llc"')
    parser.add_argument("--full", action="store_true", help="do not shorten long values")
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="allow every statement (COPY, ATTACH, SET, ...), and to read and write every file",
    )
    parser.add_argument("--csv", action="store_true", help="write comma-separated values")


def run(args: argparse.Namespace) -> int:
    """Print the table, and update llc.duckdb for other readers."""
    from lambda_hat_core.store import sql

    store = open_store()
    table = sql.query(store, args.query, unsafe=args.unsafe)
    for path in table.left_out:
        print(f"lambda-hat: {left_out(path)}", file=sys.stderr)
    if not table.left_out and not sql.is_fresh(store):
        sql.refresh(store)
    if args.csv:
        import csv

        csv.writer(sys.stdout, lineterminator="\n").writerows([table.names, *table.rows])
    else:
        print(sql.show(table, None if args.full else 60))
    return 0
