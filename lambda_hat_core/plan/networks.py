"""Fills in the sizes that follow from the data, so that the hashed spec is complete."""

from lambda_hat_core.config.data import DIMS, DataSpec, Teacher
from lambda_hat_core.config.model import Custom, Mlp, ModelSpec, NormalCrossing, Quadratic
from lambda_hat_core.config.sections import Section
from lambda_hat_core.plan.factory import source_of
from lambda_hat_core.plan.merge import SIZES

_BY_SPECTRUM = ("d", "condition", "h_max", "rank")


def complete_model(model: ModelSpec, part: Section, data: DataSpec) -> ModelSpec:
    """Return the model with every size, point and hash filled in.

    Raises:
        ConfigError: if two keys contradict each other.
    """
    match model:
        case Mlp():
            return _mlp(model, part, data)
        case Quadratic(spectrum=tuple()):
            whole = Quadratic(spectrum=model.spectrum, d=len(model.spectrum or ()))
            for key in _BY_SPECTRUM:
                if key in part.values and getattr(model, key) != getattr(whole, key):
                    rule = "it follows from spectrum, which is given"
                    raise part.error(key, rule, "remove one of them")
            return whole.model_copy(update={"rotate": model.rotate})
        case NormalCrossing(point=None):
            return model.model_copy(update={"point": (0.0,) * len(model.powers)})
        case Custom():
            return _custom(model, part)
        case _:
            return model


def _mlp(model: Mlp, part: Section, data: DataSpec) -> Mlp:
    whole = model.completed(*DIMS.get(data.kind, DIMS["synthetic"]))
    if model.widths is not None and part.values.get("depth") not in (None, whole.depth):
        raise part.error("depth", f"widths has {whole.depth} entries", "remove depth")
    sizes = [key for key in SIZES if part.values.get(key) is not None]
    if len(sizes) > 1 and part.values.get("hidden") != whole.hidden:
        rule = f"only one of {', '.join(SIZES)} may set the size, and {sizes[0]} does already"
        raise part.error(sizes[1], rule, f"remove {' or '.join(sizes)}")
    return whole


def _custom(model: Custom, part: Section) -> Custom:
    if model.checkpoint_sha256 is not None:
        raise part.error("checkpoint_sha256", "the plan fills it in", "remove it")
    try:
        found = source_of(model).sha256
    except FileNotFoundError as error:
        way_out = "correct the name: it is looked up in the working directory and on PYTHONPATH"
        raise part.error("files", str(error), way_out) from None
    except (ModuleNotFoundError, OSError) as error:
        raise part.error(
            "factory", str(error), "put it in the working directory or on PYTHONPATH"
        ) from None
    if model.source_sha256 not in (None, found):
        rule = f"the source of {model.factory} hashes to {found}"
        raise part.error("source_sha256", rule, "remove it")
    return model.model_copy(update={"source_sha256": found})


def complete_teacher(teacher: Teacher, student: Mlp) -> Teacher:
    """Return the teacher with its widths and activation filled in from the student's.

    Raises:
        Misfit: if only a depth is given and the student has no single width to use.
    """
    network = teacher.network(student)
    sizes = {"depth": network.depth, "widths": network.widths, "target_params": None}
    return teacher.model_copy(update=sizes | {"hidden": None, "activation": network.activation})
