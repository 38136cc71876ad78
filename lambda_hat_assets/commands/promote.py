"""Copy plots of each sampler's newest run in an experiment to docs/assets."""

import argparse
from pathlib import Path

from lambda_hat_assets.commands import CONFIG, default_experiment, open_store

OUTDIR = Path("docs/assets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `promote`."""
    from lambda_hat_core.gallery.promote import PLOTS

    parser.add_argument("experiment", nargs="?", default=default_experiment())
    parser.add_argument("--plots", default=",".join(PLOTS), help="file names, separated by commas")
    parser.add_argument(
        "--outdir", type=Path, default=OUTDIR, help="folder with one folder per experiment"
    )


def run(args: argparse.Namespace) -> int:
    """Copy the plots and print the paths of the written files."""
    from lambda_hat_core.gallery.members import gallery_of
    from lambda_hat_core.gallery.promote import promote
    from lambda_hat_core.plan.plan import load_plan

    gallery = gallery_of(load_plan(args.experiment, CONFIG))
    plots = [name.strip() for name in args.plots.split(",") if name.strip()]
    for path in promote(open_store(), gallery, args.outdir, plots):
        print(path)
    return 0
