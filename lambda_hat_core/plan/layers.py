"""The parameters of the kinds of models that the plan knows, and runs of each of their layers."""

from itertools import pairwise

from lambda_hat_core.config.data import DIMS
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.model import (
    DeepLinear,
    DiagonalLinear,
    Mlp,
    ModularMlp,
    NormalCrossing,
    Quadratic,
    QuadraticActivation,
    Transformer,
)
from lambda_hat_core.config.restrict import EACH, EACH_LAYER, chosen
from lambda_hat_core.config.sections import Section
from lambda_hat_core.config.spec import TargetSpec

Shapes = dict[str, tuple[int, ...]]

Restriction = tuple[str, ...] | None


def restrictions(
    restrict: Restriction, part: Section, target: TargetSpec
) -> tuple[Restriction, ...]:
    """Return what each run on a target samples: one run, or one per layer.

    Args:
        restrict: as the posterior has it.
        part: the section where it is written, for errors.
        target: the target.

    Raises:
        ConfigError: if the target's kind knows no layers, or no parameter of it has such a name. A
            custom target is asked when it is loaded, since only its factory knows its parameters.
    """
    if restrict is None:
        return (None,)
    kind = target.model.kind
    if restrict[0] in EACH:
        found = _parts(target) if restrict == (EACH_LAYER,) else _heads(target)
        if not found:
            rule = f"the model {kind} knows no {EACH[restrict[0]]}s by itself"
            raise part.error("restrict", rule, "write a list of patterns for each run")
        return tuple(tuple(sorted(patterns)) for patterns in found)
    shapes = shapes_of(target)
    if shapes is not None:
        try:
            chosen(restrict, shapes)
        except Misfit as misfit:
            rule = f"on the model {kind} {misfit.rule}"
            raise part.error("restrict", rule, misfit.way_out) from None
    return (restrict,)


def _parts(target: TargetSpec) -> list[tuple[str, ...]]:
    """Return the patterns of every layer; of a transformer they are its blocks and both ends."""
    match target.model:
        case Transformer(n_layers=n_layers) as model:
            last = (("norm.*",) if model.layer_norm else ()) + (
                () if model.tied else ("unembedding",)
            )
            blocks = [(f"blocks.{i}.*",) for i in range(n_layers)]
            return [("embedding", "positions"), *blocks, *([last] if last else [])]
        case ModularMlp():
            return [("embedding",), ("left.*", "right.*"), ("unembedding",)]
        case _:
            return [tuple(shapes) for shapes in layers(target)]


def _heads(target: TargetSpec) -> list[tuple[str, ...]]:
    """Return the patterns of every attention head, block by block."""
    model = target.model
    if not isinstance(model, Transformer):
        return []
    # With layer norms the glob would match the scale and shift of the norm before attention, too.
    arrays = ("key", "output", "query", "value") if model.layer_norm else ("*",)
    return [
        tuple(f"blocks.{i}.attention.{array}[{head}]" for array in arrays)
        for i in range(model.n_layers)
        for head in range(model.n_heads)
    ]


def layers(target: TargetSpec) -> list[Shapes]:
    """Return the parameters of every layer, of a kind that has layers, else an empty list."""
    match target.model:
        case DeepLinear(widths=widths):
            return [{f"weight{i}": pair} for i, pair in enumerate(pairwise(widths), start=1)]
        case Mlp() as mlp:
            whole = mlp.completed(*DIMS[target.data.kind])
            assert whole.widths is not None and whole.in_dim is not None
            assert whole.out_dim is not None
            pairs = [*pairwise((whole.in_dim, *whole.widths, whole.out_dim))]
            return [
                _layer(i, pair, bias=mlp.bias, norm=mlp.layernorm and i < len(pairs))
                for i, pair in enumerate(pairs, start=1)
            ]
        case _:
            return []


def shapes_of(target: TargetSpec) -> Shapes | None:
    """Return names and shapes of all parameters, or None if only the target's code knows them."""
    match target.model:
        case DeepLinear() | Mlp():
            return {name: shape for layer in layers(target) for name, shape in layer.items()}
        case DiagonalLinear(depth=depth, in_dim=in_dim):
            return {"factors": (depth, in_dim)}
        case QuadraticActivation(in_dim=in_dim, width=width):
            return {"u": (in_dim, width)}
        case Quadratic(spectrum=spectrum, d=d):
            return {"w": (d if spectrum is None else len(spectrum),)}
        case NormalCrossing(powers=powers):
            return {"w": (len(powers),)}
        case _:
            return None


def _layer(i: int, pair: tuple[int, int], *, bias: bool, norm: bool) -> Shapes:
    shapes: Shapes = {f"weight{i}": pair}
    if bias:
        shapes[f"bias{i}"] = pair[1:]
    return shapes | ({f"scale{i}": pair[1:], f"shift{i}": pair[1:]} if norm else {})
