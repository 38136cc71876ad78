"""Fill in what a model or its teacher leaves to the data, so that the hashed spec is concrete."""

from lambda_hat_core.config.data import DataSpec, Digits, Teacher
from lambda_hat_core.config.model import (
    Custom,
    Mlp,
    ModelSpec,
    NormalCrossing,
    Quadratic,
    infer_width,
)
from lambda_hat_core.config.sections import Section
from lambda_hat_core.plan.factory import source_sha256
from lambda_hat_core.plan.merge import SIZES

_DIMS = {"synthetic": (4, 1), "digits": (64, 10), "diabetes": (10, 1)}
"""Inputs and outputs; real data fix them, for synthetic data they are the defaults."""

_BY_SPECTRUM = ("d", "condition", "h_max", "rank")


def complete_model(model: ModelSpec, part: Section, data: DataSpec) -> ModelSpec:
    """Return the model with every size, point and hash filled in.

    Raises:
        ConfigError: if two keys contradict each other, or the data do not fit.
    """
    match model:
        case Mlp():
            return _mlp(model, part, data)
        case Quadratic(spectrum=tuple()):
            whole = Quadratic(spectrum=model.spectrum, d=len(model.spectrum or ()))
            for key in _BY_SPECTRUM:
                if key in part.values and getattr(model, key) != getattr(whole, key):
                    raise part.error(key, "spectrum is given and decides it", "remove one of them")
            return whole.model_copy(update={"rotate": model.rotate})
        case NormalCrossing(point=None):
            return model.model_copy(update={"point": (0.0,) * len(model.powers)})
        case Custom():
            return _custom(model, part)
        case _:
            return model


def _mlp(model: Mlp, part: Section, data: DataSpec) -> Mlp:
    dims: dict[str, int] = {}
    for key, size in zip(("in_dim", "out_dim"), _DIMS[data.kind], strict=True):
        written = getattr(model, key)
        if written not in (None, size) and data.kind != "synthetic":
            noun = "inputs" if key == "in_dim" else "outputs"
            noun = "classes" if key == "out_dim" and isinstance(data, Digits) else noun
            raise part.error(key, f"{data.kind} data have {size} {noun}", f"set {key}: null")
        dims[key] = written or size
    widths = model.widths
    if widths is None:
        width = model.hidden
        if model.target_params is not None:
            width = _inferred(model.model_copy(update=dims), model.depth, model.target_params)
        widths = (width,) * model.depth
    elif part.values.get("depth") not in (None, len(widths)):
        raise part.error("depth", f"widths has {len(widths)} entries", "remove depth")
    sizes = [key for key in SIZES if part.values.get(key) is not None]
    if len(sizes) > 1 and part.values.get("hidden") != widths[0]:
        rule = f"only one of {', '.join(SIZES)} can size the network, and {sizes[0]} does"
        raise part.error(sizes[1], rule, f"remove {' or '.join(sizes)}")
    canonical = {"depth": len(widths), "hidden": widths[0], "target_params": None}
    return model.model_copy(update={**dims, **canonical, "widths": widths})


def _inferred(model: Mlp, depth: int, target_params: int) -> int:
    return infer_width(
        model.in_dim or 0,
        model.out_dim or 0,
        depth,
        target_params,
        bias=model.bias,
        layernorm=model.layernorm,
    )


def _custom(model: Custom, part: Section) -> Custom:
    module = model.factory.partition(":")[0]
    try:
        found = source_sha256(module)
    except (ModuleNotFoundError, OSError) as error:
        raise part.error(
            "factory", str(error), "put it in the working directory or on PYTHONPATH"
        ) from None
    if model.source_sha256 not in (None, found):
        raise part.error("source_sha256", f"the source of {module} hashes to {found}", "remove it")
    return model.model_copy(update={"source_sha256": found})


def complete_teacher(teacher: Teacher, part: Section, student: Mlp) -> Teacher:
    """Return the teacher with its widths and activation filled in from the student's.

    Raises:
        ConfigError: if only a depth is given and the student has no one width to take.
    """
    own = student.widths or ()
    depth = teacher.depth or len(own)
    if teacher.widths is not None:
        widths = teacher.widths
    elif teacher.target_params is not None:
        widths = (_inferred(student, depth, teacher.target_params),) * depth
    elif teacher.hidden is not None:
        widths = (teacher.hidden,) * depth
    elif depth == len(own):
        widths = own
    elif len(set(own)) == 1:
        widths = own[:1] * depth
    else:
        raise part.error(
            "depth", f"the student's widths {list(own)} differ, so none can be taken", "give widths"
        )
    return teacher.model_copy(
        update={
            "depth": len(widths),
            "widths": widths,
            "target_params": None,
            "hidden": None,
            "activation": teacher.activation or student.activation,
        }
    )


def same_function_class(student: Mlp, teacher: Teacher) -> bool:
    """Return whether the teacher's weights are a point of the student's parameter space.

    Whatever a teacher cannot name (biases, layer norms, skip connections) is the student's.
    """
    return student.widths == teacher.widths and student.activation == teacher.activation
