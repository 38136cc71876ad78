"""Rules for which model, data, teacher and training can be combined in a target.

A `TargetSpec` checks all of them when it is created, from a file or in Python, so later code need
not. A null is filled in from the data or the model, and is compatible with everything.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from lambda_hat_core.config.data import DIMS, DataSpec, Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.model import (
    Custom,
    DeepLinear,
    DiagonalLinear,
    Mlp,
    ModelSpec,
    ModularMlp,
    NormalCrossing,
    Quadratic,
    QuadraticActivation,
    Superposition,
    Transformer,
)
from lambda_hat_core.config.posterior import SELF_LABELLED
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.config.training import SCALED, LossName, Training

POTENTIALS = (Quadratic, NormalCrossing)
OWN_LOSS = (*POTENTIALS, Custom)
"""Models that define their own loss; an experiment's choice of loss does not apply to them."""

UNTRAINED = Training(loss="own", start="truth")
"""The training of every potential."""

_OWN_TRUTH = (DeepLinear, QuadraticActivation, DiagonalLinear)

_TASKS: Mapping[type, tuple[type[DataSpec], ...]] = MappingProxyType(
    {
        ModularMlp: (Modular,),
        Superposition: (SparseFeatures,),
        Transformer: (Induction, Modular, IclRegression),
    }
)
"""The data that a network for one kind of task goes with, the default first."""

CLASSES = (Digits, Modular, Induction)
"""Data whose labels are classes."""


def default_loss(model: ModelSpec, data: DataSpec) -> LossName | Literal["own"]:
    """Return the loss of a target for which no loss was chosen."""
    if isinstance(model, OWN_LOSS):
        return "own"
    return "cross_entropy" if isinstance(data, CLASSES) else "mse"


def default_data(model: ModelSpec) -> str:
    """Return the kind of the data of a target for which none was chosen."""
    if isinstance(model, OWN_LOSS):
        return "none"
    return _kinds(model)[0] if type(model) in _TASKS else "synthetic"


def _kinds(model: ModelSpec) -> list[str]:
    return [data.model_fields["kind"].default for data in _TASKS[type(model)]]


def noise_scale(data: DataSpec) -> float | None:
    """Return the scale of the label noise, or None if there is no noise or its scale is unknown."""
    if isinstance(data, Synthetic | IclRegression) and data.noise_scale > 0:
        return data.noise_scale
    return None


def check_data(model: ModelSpec, data: DataSpec) -> None:
    """Check that a model has the examples that it needs, with matching dimensions.

    Raises:
        Misfit: if it does not.
    """
    if isinstance(model, Custom) and data != NoData():
        written = data.model_dump(exclude_defaults=True) | {"kind": data.kind}
        raise Misfit(
            "data", written, "a custom target's factory returns its data and n", "remove data"
        )
    if isinstance(model, POTENTIALS) and not isinstance(data, NoData):
        rule = f"a {model.kind} potential has no {data.kind} data"
        raise Misfit("data", data.kind, rule, "write data: {n_data: <n>}")
    if isinstance(model, _OWN_TRUTH) and not isinstance(data, Synthetic):
        raise Misfit(
            "data",
            data.kind,
            f"{model.kind} defines the truth that labels synthetic data, so it has no {data.kind} "
            "data",
            "write data: {kind: synthetic, n_data: <n>}, or choose model kind mlp",
        )
    if type(model) in _TASKS:
        _check_task(model, data)
    if not isinstance(model, Mlp):
        return
    if data.kind not in DIMS:
        way_out = "choose kind synthetic, digits or diabetes"
        rule = (
            "an mlp needs data" if isinstance(data, NoData) else f"an mlp cannot read {data.kind}"
        )
        raise Misfit("data", data.kind, rule, way_out)
    if isinstance(data, Synthetic):
        return
    nouns = ("inputs", "classes" if isinstance(data, Digits) else "outputs")
    for key, size, noun in zip(("in_dim", "out_dim"), DIMS[data.kind], nouns, strict=True):
        if getattr(model, key) not in (None, size):
            rule = f"{data.kind} data have {size} {noun}"
            raise Misfit(f"model.{key}", getattr(model, key), rule, f"set {key}: null")


def _check_task(model: ModelSpec, data: DataSpec) -> None:
    if not isinstance(data, _TASKS[type(model)]):
        rule = f"a {model.kind} network is for {' or '.join(_kinds(model))} data"
        way_out = f"write data: {{kind: {_kinds(model)[0]}}}, or choose another model kind"
        raise Misfit("data", data.kind, rule, way_out)
    if isinstance(model, Transformer) and model.tied and isinstance(data, IclRegression):
        rule = "icl_regression data are vectors, without tokens whose embedding could be read out"
        raise Misfit("model.tied", True, rule, "remove tied")
    if isinstance(model, Superposition) and isinstance(data, SparseFeatures):
        corners = model.polygon
        if corners is not None and corners > data.features:
            rule = f"the data have {data.features} features"
            raise Misfit("model.polygon", corners, rule, "lower it, or raise data.features")


def check_teacher(model: ModelSpec, data: DataSpec, teacher: Teacher | None) -> None:
    """Check that there are inputs for a teacher to label, and that its widths are known.

    Raises:
        Misfit: if one of the two does not hold.
    """
    if teacher is None:
        return
    if isinstance(model, Mlp) and isinstance(data, Synthetic):
        teacher.network(model)
        return
    owner = f"{data.kind} data" if isinstance(model, Mlp) else f"a {model.kind} target"
    raise Misfit(
        "teacher",
        teacher.model_dump(exclude_defaults=True),
        f"a teacher labels synthetic data for an mlp, and {owner} can have none",
        "remove teacher, or write teacher: _null",
    )


def check_loss(key: str, loss: str | None, model: ModelSpec, data: DataSpec) -> None:
    """Check that a loss can be used on a target.

    Args:
        key: where the loss is asked for: `training.loss` or `posterior.loss`.
        loss: the name of the loss.
        model: the model of the target.
        data: the data of the target.

    Raises:
        Misfit: if the loss does not match the target's labels or its potential.
    """
    if loss is None or (isinstance(model, OWN_LOSS) and loss == "own"):
        return
    if loss == SELF_LABELLED and not isinstance(model, POTENTIALS):
        return
    if isinstance(model, OWN_LOSS):
        rule = f"a {model.kind} target has its own loss"
        rule = f"{rule} and no outputs" if loss == SELF_LABELLED else rule
        raise Misfit(key, loss, rule, "remove it")
    if loss == "own":
        rule = f"'{model.kind}' has no loss of its own"
        raise Misfit(key, loss, rule, f"write {default_loss(model, data)}, or leave it out")
    if isinstance(data, CLASSES) and loss != "cross_entropy":
        owner = (
            "the digits' labels" if isinstance(data, Digits) else f"the labels of {data.kind} data"
        )
        raise Misfit(
            key,
            loss,
            f"{owner} are classes",
            "write cross_entropy, or leave loss out so that each target takes its own",
        )
    if loss == "cross_entropy" and not isinstance(data, CLASSES):
        raise Misfit(
            key,
            loss,
            f"the labels of {data.kind} data are numbers, not classes",
            "write mse, gaussian or student_t, or leave loss out",
        )


def check_training(
    model: ModelSpec, data: DataSpec, teacher: Teacher | None, training: Training
) -> None:
    """Check that a target can be trained and started as its training section says.

    Raises:
        Misfit: if it cannot.
    """
    check_loss("training.loss", training.loss, model, data)
    if isinstance(data, Synthetic) and "student_t" not in (data.noise_model, training.loss):
        default = Synthetic.model_fields["student_df"].default
        if data.student_df != default:
            rule = f"it has no effect with noise_model {data.noise_model} and loss {training.loss}"
            way_out = "remove student_df, or set noise_model to student_t"
            raise Misfit("data.student_df", data.student_df, rule, way_out)
    if training.loss in SCALED and noise_scale(data) is None:
        raise Misfit(
            "training.loss",
            training.loss,
            f"{training.loss} needs a noise scale to train with, and these {data.kind} data have "
            "no noise_scale > 0",
            "write mse",
        )
    if isinstance(model, POTENTIALS):
        _check_untrained(training)
    if isinstance(model, Custom) and training.init_scale != 1:
        rule = "a custom target starts at its factory's params"
        raise Misfit("training.init_scale", training.init_scale, rule, "remove it")
    if training.start == "truth":
        _check_known_truth(model, data, teacher)
    size = training.batch_size
    if size is not None and not isinstance(model, Custom) and size > data.n_data:
        rule = f"there are n_data = {data.n_data} examples"
        raise Misfit("training.batch_size", size, rule, "lower it")


def _check_untrained(training: Training) -> None:
    """Refuse training of a potential; settings at the defaults of other targets are accepted."""
    for key, default in Training():
        value = getattr(training, key)
        if value not in (default, getattr(UNTRAINED, key)):
            rule = "a potential starts at its minimum and is not trained"
            raise Misfit(f"training.{key}", value, rule, "remove it")


def _check_known_truth(model: ModelSpec, data: DataSpec, teacher: Teacher | None) -> None:
    def misfit(rule: str, way_out: str = "") -> Misfit:
        return Misfit("training.start", "truth", rule, f"write start: random{way_out}")

    if isinstance(model, Custom):
        raise misfit("a custom target starts at its factory's params")
    if isinstance(model, _OWN_TRUTH + POTENTIALS):
        return
    if not (isinstance(model, Mlp) and isinstance(data, Synthetic)):
        raise misfit(f"{data.kind} data have no known truth")
    if teacher is None:
        return
    if teacher.network(model) != model.completed(*DIMS["synthetic"]):
        raise misfit(
            "the teacher's widths and activation are not the student's, so no student weights are "
            "known to generate the data",
            ", or teacher: _null",
        )
    if teacher.dropout_rate > 0:
        raise misfit(
            f"the teacher's dropout_rate is {teacher.dropout_rate:g}, so that no student weights "
            "generate the data",
            ", or dropout_rate: 0",
        )
