"""Which programs of a test XLA should work on: the loops that sample, where they do so for long."""

import contextlib
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
def optimised():
    """Compile the loops of warm-up and draws well; what is around them runs once."""
    from lambda_hat_core.samplers import adapt, drive

    with contextlib.ExitStack() as patches:
        for module in (adapt, drive):
            loop = _optimised(module._advance)
            patches.enter_context(mock.patch.object(module, "_advance", loop))
        yield
