"""Runs of some parameters: which are chosen by patterns, layers and heads."""

import numpy as np
import pytest

from lambda_hat_core.config.errors import ConfigError, Misfit
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.restrict import chosen
from tests.core.plans import one

SHAPES = {"layers.0.weight": (3, 4), "layers.0.bias": (4,), "layers.10.weight": (2, 2), "w": ()}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.bias"], {"layers.0.bias": [0, 1, 2, 3]}),
        (["layers.0.*[0:2]"], {"layers.0.weight": [*range(8)], "layers.0.bias": [0, 1]}),
        (["*.0.weight[:, 1:3]"], {"layers.0.weight": [1, 2, 5, 6, 9, 10]}),
        (["layers.?.weight[-1, ::2]"], {"layers.0.weight": [8, 10]}),
        (["layers.10.*[1]", "layers.1*[0, 1]"], {"layers.10.weight": [1, 2, 3]}),
        (["w", "layers.0.bias[3]"], {"layers.0.bias": [3], "w": [0]}),
    ],
)
def test_globs_and_slices(patterns, expected):
    found = chosen(patterns, SHAPES)
    assert {name: places.tolist() for name, places in found.items()} == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("head.*", "no parameter has the name head.*; there are layers.0.weight, layers.0.bias"),
        ("layers.0.bias[0, 0]", "outside of layers.0.bias, which has shape [4]"),
        ("layers.0.weight[3]", "outside of layers.0.weight, which has shape [3, 4]"),
        ("layers.0.bias[4:]", "takes nothing of layers.0.bias"),
        ("layers.0.bias[::0]", "the step of a slice is not 0"),
        ("layers.0.bias[a]", "an entry is a glob over the names of parameters, with slices"),
        ("layers.0.bias[]", "an entry is a glob"),
        ("layers[0].bias", "an entry is a glob"),
    ],
)
def test_patterns_that_choose_nothing(pattern, words):
    with pytest.raises(Misfit) as caught:
        chosen([pattern], SHAPES)
    assert words in str(caught.value) and f'restrict is "{pattern}"' in str(caught.value)


def test_ways_to_write_the_same_choice_have_one_id():
    from lambda_hat_core.config.base import content_hash

    same = [PosteriorSpec(restrict=r) for r in (["a", "b[0:2,1]"], ("b[0:2, 1]", "a", "a "))]
    assert same[0] == same[1] and PosteriorSpec(restrict="a").restrict == ("a",)
    assert "restrict" not in PosteriorSpec().model_dump()
    assert content_hash(PosteriorSpec(restrict=None)) == content_hash(PosteriorSpec())


LINEAR = "{model: {kind: deep_linear, widths: [3, 4, 2], rank: 1}, data: {n_data: 50}}"
NORMED = "{model: {widths: [3, 4], layernorm: true}, data: {n_data: 50}}"


def restricted(plan):
    return [run.posterior.restrict for run in plan.runs.values()]


def test_a_list_of_lists_is_one_run_per_entry(plan_of):
    listed = "posterior: {gamma: [1, 10], restrict: [[weight1], ['weight*[0:2]'], null]}"
    plan = plan_of(one(LINEAR, rest=listed))
    assert restricted(plan) == 2 * [("weight1",), ("weight*[0:2]",), None]
    labels = [plan.labels[run] for run in plan.runs]
    assert len(set(labels)) == 6 and "mse, only weight1, gamma 1" in labels[0]
    assert restricted(plan_of(one(LINEAR, rest="posterior: {restrict: [weight1, weight2]}"))) == [
        ("weight1", "weight2")
    ]
    without = plan_of(one(LINEAR, rest="posterior: {gamma: [1, 10]}"))
    assert set(without.runs) < set(plan.runs)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (LINEAR, [("weight1",), ("weight2",)]),
        (
            NORMED,
            [
                ("bias1", "scale1", "shift1", "weight1"),
                ("bias2", "scale2", "shift2", "weight2"),
                ("bias3", "weight3"),
            ],
        ),
    ],
)
def test_each_layer_is_one_run_per_layer(target, expected, plan_of):
    assert restricted(plan_of(one(target, rest="posterior: {restrict: each_layer}"))) == expected


DECODER = (
    "{model: {kind: transformer, n_layers: 2, n_heads: 2, d_model: 4, d_mlp: 3%s}, "
    "data: {kind: induction, vocabulary: 32, context: 24, n_data: 6}}"
)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("word", ["each_layer", "each_head"])
def test_parts_of_a_transformer_are_disjoint(word, norm, plan_of):
    """Layers have all parameters once; heads those of attention, of equal sizes."""
    from lambda_hat_core.targets.assemble import network_of

    more = ", layer_norm: true" if norm else ""
    plan = plan_of(one(DECODER % more, rest=f"posterior: {{restrict: {word}}}"))
    [spec] = plan.targets.values()
    shapes = dict(network_of(spec, spec.model).shapes)
    parts = [chosen(patterns, shapes) for patterns in restricted(plan)]
    counts = {
        name: np.concatenate([part[name] for part in parts if name in part])
        for name in {name for part in parts for name in part}
    }
    assert all(np.array_equal(np.sort(x), np.arange(x.size)) for x in counts.values())
    assert all(counts[name].size == np.prod(shapes[name]) for name in counts)
    if word == "each_layer":
        assert counts.keys() == shapes.keys() and len(parts) == 4
        assert "blocks.1.mlp.in" in parts[2]
    else:
        assert len(parts) == 4 and counts.keys() == {
            f"blocks.{i}.attention.{name}"
            for i in (0, 1)
            for name in "key output query value".split()
        }
        assert {sum(x.size for x in part.values()) for part in parts} == {4 * 4 * 2}
    assert len({plan.labels[run] for run in plan.runs}) == 4


@pytest.mark.parametrize(
    "target",
    [
        LINEAR,
        NORMED,
        "{model: {target_params: 90, bias: false}, data: digits}",
        "{model: {kind: diagonal_linear, in_dim: 5}, data: {n_data: 9}}",
        "{model: {kind: quadratic_activation, in_dim: 3, width: 2, rank: 1}, data: {n_data: 9}}",
    ],
)
def test_the_plan_knows_the_parameters_of_networks(target, plan_of):
    from lambda_hat_core.plan.layers import shapes_of
    from lambda_hat_core.targets.assemble import network_of

    [spec] = plan_of(one(target)).targets.values()
    assert [*shapes_of(spec).items()] == [*network_of(spec, spec.model).shapes]


@pytest.mark.parametrize(
    ("target", "restrict", "words"),
    [
        (LINEAR, "[head.*]", "no parameter has the name head.*; there are weight1, weight2"),
        (LINEAR, "['weight1[5]']", "weight1[5] is outside of weight1, which has shape [3, 4]"),
        ("{model: {kind: quadratic}}", "each_layer", "quadratic knows no layers by itself"),
        (LINEAR, "[each_layer, weight1]", "each_layer stands for all layers"),
        (LINEAR, "[each_head, each_layer]", "each_layer stands for all layers"),
        (LINEAR, "each_head", "deep_linear knows no heads by itself"),
        (LINEAR, "[]", "posterior.restrict is []"),
        (LINEAR, "[[weight1], 3]", "posterior.restrict[1] is 3"),
    ],
)
def test_mistakes_are_found_by_the_plan(target, restrict, words, plan_of):
    with pytest.raises(ConfigError) as caught:
        plan_of(one(target, rest=f"posterior: {{restrict: {restrict}}}"))
    assert words in str(caught.value) and "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
