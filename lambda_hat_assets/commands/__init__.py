"""The commands of `lambda-hat`. Each is a module that imports little until its command runs."""

import os
from pathlib import Path

from lambda_hat_core.store.store import Store

CONFIG = Path("config")


def open_store() -> Store:
    """Return the store of LAMBDA_HAT_HOME."""
    return Store(os.environ.get("LAMBDA_HAT_HOME", "runs"))


def default_experiment() -> str:
    """Return the experiment of LAMBDA_HAT_EXPERIMENT."""
    return os.environ.get("LAMBDA_HAT_EXPERIMENT", "default")
