"""The checkpoints of a training: one target for each step, or for each file."""

from collections.abc import Mapping
from typing import Any, Literal

from lambda_hat_core.config.checkpoints import Checkpoints
from lambda_hat_core.config.compatible import POTENTIALS
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.plan.factory import checkpoint_files, file_sha256

_POLISH = ("polish", "polish_steps", "grad_tol")
_UNPOLISHED = {
    name: "none" if name == "polish" else Training.model_fields[name].default for name in _POLISH
}


def along(
    spec: TargetSpec,
    parts: Mapping[str, Section],
    asked: Mapping[str, Any],
    written: Mapping[str, Any] | None,
    place: Place,
) -> tuple[TargetSpec, ...]:
    """Return the targets of an entry in the order of their steps.

    Args:
        spec: the target of the entry without checkpoints.
        parts: the sections of the entry.
        asked: the settings of the training that somebody chose.
        written: `checkpoints` of the entry.
        place: where they are, or would be.

    Raises:
        ConfigError: if the target has no such checkpoints.
    """
    if isinstance(spec.model, Custom) and spec.model.checkpoints is not None:
        if written is not None:
            rule = "the checkpoints are the files that model.checkpoints names"
            raise place.error(rule, "remove one of them", written)
        return _from_files(spec, spec.model, parts["model"])
    return (spec,) if written is None else _trained(spec, parts["training"], asked, written, place)


def read_hold(written: Any, place: Place) -> int | Literal["last"] | None:
    """Return the step whose settings are held, or `last`; None if nothing is written.

    Raises:
        ConfigError: if something else is written.
    """
    if written is None:
        return None
    value = written.get("from") if isinstance(written, Mapping) and len(written) == 1 else None
    if value == "last" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    rule = "hold names one checkpoint"
    if value == "best":
        rule = "ids are made before the training, which alone could say which checkpoint is best"
    way_out = "write {from: last}, or the step of a checkpoint such as {from: 1000}"
    raise place.error(rule, way_out, written)


def _trained(
    spec: TargetSpec,
    part: Section,
    asked: Mapping[str, Any],
    written: Mapping[str, Any],
    place: Place,
) -> tuple[TargetSpec, ...]:
    chosen = validate(inline("checkpoints", written, place), Checkpoints)
    if isinstance(spec.model, POTENTIALS):
        rule = f"a {spec.model.kind} potential is not trained"
        raise place.error(rule, "remove checkpoints", written)
    if spec.training.start == "truth":
        rule = "training.start is truth, so that nothing is trained"
        raise place.error(rule, "write start: random", written)
    for key in _POLISH:
        if key in asked and asked[key] != _UNPOLISHED[key]:
            rule = "checkpoints are taken as they are, without a polish"
            raise part.error(key, rule, f"remove {key}, or checkpoints")
    try:
        steps = chosen.steps(spec.training.steps)
    except ValueError as error:
        raise place.error(str(error), "change checkpoints or training.steps", written) from None
    training = spec.training.model_copy(update=_UNPOLISHED)
    return tuple(spec.model_copy(update={"training": training, "step": step}) for step in steps)


def _from_files(spec: TargetSpec, model: Custom, part: Section) -> tuple[TargetSpec, ...]:
    try:
        found = checkpoint_files(model)
    except ValueError as error:
        way_out = (
            "it is a pattern such as run7/step_*.npz, in the working directory or on PYTHONPATH"
        )
        raise part.error("checkpoints", str(error), way_out) from None
    targets = []
    for step, file in found.items():
        at = model.model_copy(update={"checkpoint_sha256": file_sha256(file)})
        targets.append(spec.model_copy(update={"model": at, "step": step}))
    return tuple(targets)
