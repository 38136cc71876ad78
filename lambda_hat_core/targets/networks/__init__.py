"""Networks: immutable descriptions without arrays, applied to flat weight vectors."""

from lambda_hat_core.config import model
from lambda_hat_core.config.data import DataSpec, Teacher
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.targets.networks.deeplinear import DeepLinearNetwork
from lambda_hat_core.targets.networks.diagonallinear import DiagonalLinearNetwork
from lambda_hat_core.targets.networks.mlp import MlpNetwork
from lambda_hat_core.targets.networks.modularmlp import ModularMlpNetwork
from lambda_hat_core.targets.networks.network import Network
from lambda_hat_core.targets.networks.quadraticactivation import QuadraticActivationNetwork
from lambda_hat_core.targets.networks.superposition import SuperpositionNetwork
from lambda_hat_core.targets.networks.transformer import TransformerNetwork

__all__ = [
    "DeepLinearNetwork",
    "DiagonalLinearNetwork",
    "MlpNetwork",
    "ModularMlpNetwork",
    "Network",
    "QuadraticActivationNetwork",
    "SuperpositionNetwork",
    "TransformerNetwork",
    "make_network",
    "make_task_network",
    "make_teacher",
]

TaskSpec = model.ModularMlp | model.Superposition | model.Transformer
"""Networks whose inputs and outputs are those of their data."""

NetworkSpec = (
    model.Mlp | model.DeepLinear | model.QuadraticActivation | model.DiagonalLinear | TaskSpec
)


def make_network(
    spec: model.Mlp | model.DeepLinear | model.QuadraticActivation | model.DiagonalLinear,
    in_dim: int,
    out_dim: int,
) -> Network:
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


def make_task_network(spec: TaskSpec, data: DataSpec) -> Network:
    """Return the network of `spec` with the sizes of its data."""
    match spec, data:
        case model.ModularMlp(), Modular():
            return ModularMlpNetwork(data.p, spec.embedding, spec.hidden)
        case model.Superposition(), SparseFeatures():
            return SuperpositionNetwork(data.features, spec.hidden, spec.polygon)
        case model.Transformer(), Modular():
            sizes = (data.p, data.p, 2)
            reads = "last"
        case model.Transformer(), Induction():
            sizes = (data.vocabulary, data.vocabulary, data.context)
            reads = "each"
        case model.Transformer(), IclRegression():
            sizes = (data.dim + 1, 1, 2 * data.examples)
            reads = "other"
        case _:
            raise TypeError(f"{spec.kind} has no sizes for {data.kind} data")
    parts = (spec.n_layers, spec.n_heads, spec.d_model, spec.d_mlp, spec.tied, spec.layer_norm)
    return TransformerNetwork(*sizes, *parts, reads)


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
