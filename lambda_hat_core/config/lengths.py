"""How long a run is: its own lengths where they are written, else until it has seen enough."""

from collections.abc import Set

from lambda_hat_core.config.samplers.base import Sampler, Until

LENGTHS = frozenset({"n_draws", "n_burn"})


def stopping[S: Sampler](sampler: S, written: Set[str]) -> S:
    """Return the sampler with the stop rule that it has.

    Explicit lengths mean explicit lengths; the default rule holds where neither they nor a rule are
    written.

    Args:
        sampler: any sampler; one without a stop rule comes back as it is.
        written: the fields that somebody chose.
    """
    if "until" not in type(sampler).model_fields or written & (LENGTHS | {"until"}):
        return sampler
    return sampler.model_copy(update={"until": Until()})
