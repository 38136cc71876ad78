"""The programs that XLA optimises in tests: the loops of samplers that run for long."""

import contextlib
import importlib
from unittest import mock

import jax


def _optimised(loop):
    def call(*arguments):
        jax.config.update("jax_disable_most_optimizations", False)
        try:
            return loop(*arguments)
        finally:
            jax.config.update("jax_disable_most_optimizations", True)

    return call


@contextlib.contextmanager
def optimised(*names):
    """Compile the loops of these modules with optimisation: `drive` draws, `averaging` warms up."""
    with contextlib.ExitStack() as patches:
        for name in names:
            module = importlib.import_module(f"lambda_hat_core.samplers.{name}")
            loop = _optimised(module._advance)
            patches.enter_context(mock.patch.object(module, "_advance", loop))
        yield
