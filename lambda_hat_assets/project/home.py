"""The store that the environment selects."""

import os
from collections.abc import Mapping

from lambda_hat_core.config.errors import Place
from lambda_hat_core.store.store import Store

VARIABLE = "LAMBDA_HAT_HOME"


def store_at(environment: Mapping[str, str] = os.environ) -> Store:
    """Return the store at LAMBDA_HAT_HOME, by default runs/ in the working directory.

    Raises:
        ConfigError: if the variable is set but empty, as by a script whose own variable is not set;
            the store would be the working directory itself.
    """
    home = environment.get(VARIABLE, "runs")
    if not home.strip():
        raise Place(VARIABLE).error("it is set but empty", "unset it, or give a folder", home)
    return Store(home)
