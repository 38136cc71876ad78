"""The names that a custom target gives to parts of itself, for `posterior.restrict`."""

from collections.abc import Mapping, Sequence
from typing import Any

from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.observables import is_name
from lambda_hat_core.config.restrict import EACH, chosen, written
from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.networks.layout import Shapes, dotted

_WRITE = "write restrict_names={'heads': ['attention.*', 'output[0:4]']}"


def parts(maker: str, names: Any, shapes: Shapes) -> dict[str, tuple[str, ...]]:
    """Return the patterns that each name stands for.

    Args:
        maker: the name of what made the target, for errors.
        names: a pattern or a list of patterns by name, or None.
        shapes: names and shapes of the arrays that are sampled.

    Raises:
        ValueError: if a name is none or has another meaning, or its patterns choose nothing.
    """
    if not isinstance(names, Mapping | None):
        raise refusal(maker, f"has restrict_names of type {type(names).__name__}", _WRITE)
    known = {dotted(name): shape for name, shape in shapes}
    return {name: _patterns(maker, name, value, known) for name, value in (names or {}).items()}


def _patterns(
    maker: str, name: Any, value: Any, known: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    if not is_name(name) or name in known or name in EACH:
        rule = (
            "a name is made of letters, digits and _, does not begin with a digit, and is neither "
            "that of an array nor each_layer or each_head"
        )
        raise refusal(maker, f"has restrict_names with the name {name!r}", rule)
    listed = (value,) if isinstance(value, str) else value
    texts = isinstance(listed, Sequence) and all(isinstance(text, str) for text in listed)
    if not (texts and listed):
        raise refusal(maker, f"has restrict_names {name} = {value!r}", _WRITE)
    try:
        chosen(listed, known)
    except Misfit as misfit:
        did = f"has restrict_names {name} = {list(listed)}, and {misfit.rule}"
        raise refusal(maker, did, misfit.way_out) from None
    return tuple(map(written, listed))
