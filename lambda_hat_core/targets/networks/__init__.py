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
    whole = spec.completed(in_dim, out_dim)
    assert whole.in_dim and whole.widths and whole.out_dim
    period = whole.residual_period if whole.skip_connections else 0
    sizes = (whole.in_dim, *whole.widths, whole.out_dim)
    return MlpNetwork(sizes, whole.activation, whole.bias, whole.layernorm, period)


def make_teacher(spec: model.Mlp, teacher: Teacher | None, student: MlpNetwork) -> MlpNetwork:
    """Return the teacher network; fields that are null are taken from the student."""
    if teacher is None:
        return student
    return make_mlp(teacher.network(spec), student.in_dim, student.out_dim)
