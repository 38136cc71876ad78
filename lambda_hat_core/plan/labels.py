"""Human-readable labels of targets and runs."""

from lambda_hat_core.config.data import Diabetes, Digits, NoData, Synthetic
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
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import Origin, RunSpec, TargetSpec


def target_label(spec: Origin, presets: dict[str, str | None]) -> str:
    """Return a label that names the presets, the sizes or the factory, the data and the seed."""
    words = [_model(spec.model, presets.get("model")), _data(spec, presets.get("data"))]
    teacher = presets.get("teacher")
    if spec.teacher is not None and teacher not in (None, "_null"):
        words.append(f"teacher {teacher}")
    elif spec.teacher is not None and isinstance(spec.model, Mlp):
        same = spec.teacher.widths == spec.model.widths
        words.append(
            "teacher of its own shape" if same else "teacher " + _sizes(spec.teacher.widths)
        )
    if presets.get("training") not in (None, "default"):
        words.append(f"training {presets['training']}")
    label = ", ".join([*filter(None, words), f"seed {spec.seed}"])
    step = spec.step if isinstance(spec, TargetSpec) else None
    return label if step is None else f"{label} at step {step}"


def run_label(spec: RunSpec, target: str) -> str:
    """Return a label of the sampler, its flavour, posterior, precision and seed, and the target."""
    sampler = spec.sampler.kind
    kind = spec.sampler.flavour
    words = sampler if kind in (None, "none") else f"{sampler} {kind}"
    step = getattr(spec.sampler, "step_size", None)
    steps = [f"step {step:g}"] if isinstance(step, float) else []
    at = [*steps, _posterior(spec.posterior), spec.dtype, f"seed {spec.seed}"]
    if spec.hold is not None:
        at.append(f"held from {spec.hold}")
    return f"{words} ({', '.join(at)}) on {target}"


def _sizes(widths: tuple[int, ...] | None) -> str:
    return "-".join(str(width) for width in widths or ())


def _model(model: ModelSpec, preset: str | None) -> str:
    match model:
        case Mlp():
            shape = f"{model.in_dim}-{_sizes(model.widths)}-{model.out_dim}"
            words = f"{model.activation} mlp {shape}"
        case DeepLinear():
            words = f"deep linear {_sizes(model.widths)} of rank {model.rank}"
        case QuadraticActivation():
            words = f"quadratic activation {model.in_dim}-{model.width} of rank {model.rank}"
        case DiagonalLinear():
            words = f"diagonal linear p = {model.in_dim}, {model.n_zero} zero"
        case ModularMlp() | Superposition() | Transformer():
            words = model.words
        case Quadratic():
            given = model.spectrum is None
            shape = f"condition {model.condition:g}" if given else "given spectrum"
            words = f"quadratic d = {model.d}, {shape}"
        case NormalCrossing():
            words = f"normal crossing of powers {_sizes(model.powers)}"
        case Custom():
            words = model.factory
    return words if preset is None else f"{words} ({preset})"


def _data(spec: Origin, preset: str | None) -> str:
    data = spec.data
    name = "" if preset in (None, data.kind) else f" ({preset})"
    match data:
        case NoData():
            return "" if isinstance(spec.model, Custom) else f"n = {data.n_data}"
        case Synthetic():
            return f"{data.x_dist} data{name} n = {data.n_data}"
        case Digits():
            return f"digits{name} n = {data.n_data}"
        case Diabetes():
            return f"diabetes{name} n = {data.n_data}"
        case _:
            return f"{data.words}{name} n = {data.n_data}"


def _posterior(posterior: PosteriorSpec) -> str:
    words = f"{posterior.loss}, "
    if posterior.nbeta is not None:
        words += f"nbeta {posterior.nbeta:g}, "
    if posterior.restrict is not None:
        words += f"only {' + '.join(posterior.restrict)}, "
    if posterior.prior is not None:
        words += f"prior precision {posterior.prior.precision:g}, "
    if posterior.prior_radius is not None:
        return f"{words}radius {posterior.prior_radius:g}"
    return f"{words}gamma {posterior.gamma:g}"
