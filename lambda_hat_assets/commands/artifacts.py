"""List the artifacts in the store, remove unused ones, and show logs in TensorBoard."""

import argparse
import math
import os
import shutil
from datetime import UTC, datetime, timedelta

from lambda_hat_assets.commands import CONFIG, default_experiment, open_store
from lambda_hat_core.store.store import FOLDERS

_MOST_DAYS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `ls`, `gc` and `tb`."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    ls = actions.add_parser(
        "ls", help="list every artifact with its size, its age and the experiments that use it"
    )
    ls.add_argument("--kind", choices=FOLDERS, help="only this kind")
    gc = actions.add_parser("gc", help="remove old artifacts that no experiment or study uses")
    gc.add_argument(
        "--ttl-days", type=_days, required=True, metavar="N", help="keep those younger than N days"
    )
    gc.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    tb = actions.add_parser("tb", help="start TensorBoard on the logs of variational runs")
    tb.add_argument("--port", type=int, default=6006)


def _days(text: str) -> float:
    """Return a number of days that a date can be moved back by.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MOST_DAYS:
        rule = f"{text} is no number of days from 0 to {_MOST_DAYS}; write e.g. 30"
        raise argparse.ArgumentTypeError(rule)
    return days


def run(args: argparse.Namespace) -> int:
    """Run one of the three actions."""
    return {"ls": _ls, "gc": _gc, "tb": _tb}[args.action](args)


def _ls(args: argparse.Namespace) -> int:
    from lambda_hat_core.store import inventory, sql

    store = open_store()
    now = datetime.now(UTC)
    found = [
        entry
        for entry in inventory.entries(store, inventory.users_of(store))
        if args.kind in (None, entry.kind)
    ]
    rows = [
        (e.kind, e.id, e.what, _bytes(e.size), _age(now - e.made), ", ".join(e.used_by) or "-")
        for e in found
    ]
    names = ["kind", "id", "what", "size", "age", "used by"]
    print(sql.show(sql.Table(names, rows)))
    print(f"{len(found)} folders, {_bytes(sum(e.size for e in found))} in {store.root}")
    return 0


def _gc(args: argparse.Namespace) -> int:
    """Remove artifacts; all experiment files must be valid, as each may refer to an artifact."""
    from lambda_hat_core.plan.plan import load_union
    from lambda_hat_core.store import files, inventory

    store = open_store()
    plan = load_union(CONFIG, default_experiment())
    kept = {*plan.trajectories, *plan.targets, *plan.runs, *plan.membership}
    limit = datetime.now(UTC) - timedelta(days=args.ttl_days)
    going = list(inventory.collectable(store, kept, limit, inventory.users_of(store)))
    for entry in going:
        print(f"{entry.kind}/{entry.id}  {_bytes(entry.size)}  {entry.what}")
        if not args.dry_run:
            inventory.forget(store, entry)
    for path in inventory.orphans(store, kept, limit):
        print(f"{path.relative_to(store.root)}  of a run that no experiment refers to")
        if not args.dry_run:
            files.remove(path)
    if not args.dry_run:
        store.sweep()
    verb = "would be removed" if args.dry_run else "removed"
    print(f"{len(going)} folders, {_bytes(sum(entry.size for entry in going))} {verb}")
    return 0


def _tb(args: argparse.Namespace) -> int:
    store = open_store()
    logs = store.root / "runs"
    if next(logs.rglob("*tfevents*"), None) is None:
        print(f"{logs} has no TensorBoard logs; write overrides: {{tensorboard: true}} for vi")
        return 1
    program = shutil.which("tensorboard")
    if program is None:
        raise FileNotFoundError("tensorboard is not installed here; run: uv sync --group dev")
    os.execv(program, [program, "--logdir", str(logs), "--port", str(args.port)])


def _bytes(size: int) -> str:
    steps = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    scale, unit = next(((scale, unit) for scale, unit in steps if size >= scale), (1.0, "B"))
    return f"{size / scale:.3g} {unit}"


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
