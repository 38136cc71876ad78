"""Networks: immutable descriptions without arrays, applied to flat weight vectors."""

from lambda_hat_core.config import model
from lambda_hat_core.config.data import Teacher
from lambda_hat_core.targets.networks.deeplinear import DeepLinearNetwork
from lambda_hat_core.targets.networks.diagonallinear import DiagonalLinearNetwork
from lambda_hat_core.targets.networks.mlp import MlpNetwork
from lambda_hat_core.targets.networks.network import Network
from lambda_hat_core.targets.networks.quadraticactivation import QuadraticActivationNetwork

__all__ = [
    "DeepLinearNetwork",
    "DiagonalLinearNetwork",
    "MlpNetwork",
    "Network",
    "QuadraticActivationNetwork",
    "make_network",
    "make_teacher",
]

NetworkSpec = model.Mlp | model.DeepLinear | model.QuadraticActivation | model.DiagonalLinear


def make_network(spec: NetworkSpec, in_dim: int, out_dim: int) -> Network:
    """Return the network of `spec`; `in_dim` and `out_dim` replace null dimensions of an MLP."""
    match spec:
        case model.Mlp():
            return make_mlp(spec, in_dim, out_dim)
        case model.DeepLinear():
            return DeepLinearNetwork(spec.widths)
        case model.QuadraticActivation():
            return QuadraticActivationNetwork(spec.in_dim, spec.width)
        case model.DiagonalLinear():
            return DiagonalLinearNetwork(spec.in_dim, spec.depth)


def make_mlp(spec: model.Mlp, in_dim: int, out_dim: int) -> MlpNetwork:
    """Return the MLP of `spec`, with the hidden width inferred if `target_params` is set."""
    p, q = spec.in_dim or in_dim, spec.out_dim or out_dim
    hidden = spec.widths
    if hidden is None:
        width = spec.hidden
        if spec.target_params is not None:
            width = model.infer_width(
                p, q, spec.depth, spec.target_params, bias=spec.bias, layernorm=spec.layernorm
            )
        hidden = (width,) * spec.depth
    period = spec.residual_period if spec.skip_connections else 0
    return MlpNetwork((p, *hidden, q), spec.activation, spec.bias, spec.layernorm, period)


def make_teacher(spec: model.Mlp, teacher: Teacher | None, student: MlpNetwork) -> MlpNetwork:
    """Return the teacher network; fields that are null are taken from the student."""
    fields = {} if teacher is None else teacher.model_dump(exclude={"dropout_rate"})
    given = {name: value for name, value in fields.items() if value is not None}
    sizes = {"widths", "target_params", "hidden"}
    if sizes & given.keys():
        given |= {name: None for name in ("widths", "target_params") if name not in given}
    elif "depth" in given:
        given |= {"widths": None, "target_params": None, "hidden": max(student.widths[1:-1])}
    merged = spec.model_copy(update=given)
    return make_mlp(merged, student.in_dim, student.out_dim)
