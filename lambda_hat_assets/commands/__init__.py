"""The commands of `lambda-hat`, one module each. Heavy imports are made only by `run`."""

import os
from pathlib import Path

from lambda_hat_assets.project.home import store_at
from lambda_hat_core.store.store import Store

CONFIG = Path("config")


def open_store() -> Store:
    """Return the store at LAMBDA_HAT_HOME."""
    return store_at()


def default_experiment() -> str:
    """Return the experiment that LAMBDA_HAT_EXPERIMENT selects."""
    return os.environ.get("LAMBDA_HAT_EXPERIMENT", "default")
