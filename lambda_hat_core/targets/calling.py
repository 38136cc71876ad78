"""Calls the factory of a custom target."""

import importlib
import inspect
import sys
from functools import cache
from typing import Any

from lambda_hat_core.config.model import Custom
from lambda_hat_core.plan.factory import factory_search_path, source_sha256
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.loss_check import refusal


@cache
def _module(name: str, source: str) -> Any:
    """Import a module; reload it if its source has changed since the last import."""
    del source
    sys.path[:0] = [path for path in factory_search_path() if path not in sys.path]
    if name in sys.modules:
        return importlib.reload(sys.modules[name])
    return importlib.import_module(name)


def called(spec: Custom, seed: int) -> Any:
    """Return what the factory returns for a seed.

    Raises:
        ValueError: if it cannot be imported or called, or fails.
    """
    maker = f"model.factory {spec.factory}"
    name, _, function = spec.factory.partition(":")
    way_out = "put the module in the working directory or on PYTHONPATH"
    try:
        source = source_sha256(name)
        module = _module(name, source)
    except (ImportError, SyntaxError) as error:
        raise refusal(maker, f"cannot be imported ({error})", way_out) from error
    if spec.source_sha256 not in (None, source):
        did = f"has source {source[:12]}, but the plan was made with {spec.source_sha256[:12]}"
        raise refusal(maker, did, "plan again") from None
    factory = getattr(module, function, None)
    if not callable(factory):
        raise refusal(maker, "is not a function of that module", "check its name")
    key = stream(seed, "factory")
    try:
        inspect.signature(factory).bind(key, **spec.kwargs)
    except TypeError as error:
        did = f"does not take (key, **{spec.kwargs}) ({error})"
        raise refusal(maker, did, "correct model.kwargs") from error
    try:
        made = factory(key, **spec.kwargs)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        did = f"raised {type(error).__name__}: {error}"
        raise refusal(
            maker, did, "correct it; the traceback is kept next to the record of the failure"
        ) from error
    return made
