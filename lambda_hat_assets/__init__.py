"""The Dagster code location. `defs` is built on first access, so that imports stay cheap."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "defs":
        raise AttributeError(f"module 'lambda_hat_assets' has no attribute {name!r}")
    from lambda_hat_assets.definitions import defs

    return defs


def __dir__() -> list[str]:
    return [*globals(), "defs"]
