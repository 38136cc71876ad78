"""`lambda-hat`: experiments without Dagster, the store, and SQL, from the command line."""

import argparse
import importlib
import os
import sys

COMMANDS = (
    "init", "run", "plan", "card", "sql", "verify", "artifacts", "promote", "compare",
)  # fmt: skip
"""Modules of `lambda_hat_assets.commands`, each with functions `add_arguments` and `run`."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; after a mistake of the user, print one line to stderr and return 2."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"lambda-hat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lambda-hat", description=__doc__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"lambda_hat_assets.commands.{name}")
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
