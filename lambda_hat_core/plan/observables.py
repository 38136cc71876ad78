"""Which observables a target can have."""

from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.model import Custom, NormalCrossing, Quadratic
from lambda_hat_core.config.observables import parsed
from lambda_hat_core.config.spec import TargetSpec

TEST = "test"
"""The name of the held-out examples of targets that have some."""


def check_observables(names: tuple[str, ...] | None, target: TargetSpec, place: Place) -> None:
    """Check that a target has what observables name.

    Args:
        names: the entries.
        target: the target. One that a factory makes is asked when it is loaded.
        place: where observables are written.

    Raises:
        ConfigError: if it does not.
    """
    if names is None or isinstance(target.model, Custom):
        return
    kind = target.model.kind
    for entry in parsed(names):
        if isinstance(target.model, Quadratic | NormalCrossing):
            rule = f"the model {kind} has no examples, whose losses could be recorded"
            raise place.error(rule, "leave out one of the two", entry.text)
        if entry.name not in (None, TEST):
            rule = f"the model {kind} has no data set or function {entry.name}"
            way_out = f"there are per_example and {TEST}; a factory may name others"
            raise place.error(rule, way_out, entry.text)
