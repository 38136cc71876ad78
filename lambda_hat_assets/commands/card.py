"""Show the compute card: where the payloads of each dtype would run. Nothing is started."""

import argparse
import os

from lambda_hat_assets.commands import CONFIG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `card`."""
    parser.add_argument("action", choices=["show"])
    parser.add_argument(
        "name",
        nargs="?",
        default=os.environ.get("LAMBDA_HAT_CARD", "local"),
        help="a name under config/card/ or a path; by default LAMBDA_HAT_CARD",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="key=value",
        help="a change, such as walltime=04:00:00 or float64.memory=16G; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Print the whole card as YAML, then one line per dtype."""
    import yaml

    from lambda_hat_assets.cards.file import changed, load_card

    card = changed(load_card(args.name, CONFIG), args.set)
    print(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False).rstrip())
    print()
    for line in (*card.routing(), *(f"warning: {words}" for words in card.warnings())):
        print(line)
    return 0
