"""Every field of every model: a change of it changes the id and is used, or is refused."""

import ast
from functools import cache
from pathlib import Path

import pytest
from pydantic import ValidationError

import lambda_hat_core
from lambda_hat_core.config import data, model
from lambda_hat_core.config.base import content_hash
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.effect import Above, When
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from tests.core.othervalues import NEEDS, OTHERS, REQUIRED

FIELDS = [(kind, name) for kind, others in OTHERS.items() for name in others]


def rules(kind, name):
    return [item for item in kind.model_fields[name].metadata if isinstance(item, When)]


def values_where(kind, rule, holds):
    """Return values of the other fields for which a rule holds, or each part of it fails."""
    found = []
    for name, allowed in rule.others.items():
        good = allowed.limit + 1 if isinstance(allowed, Above) else allowed[0]
        candidates = [kind.model_fields[name].default, OTHERS[kind][name]]
        bad = [value for value in candidates if value not in allowed]
        found += [{name: good}] if holds else [{name: value} for value in bad[:1]]
    return found


def made(kind, **fields):
    return kind(**REQUIRED.get(kind, {}) | fields)


def test_the_table_has_every_field_and_every_sampler():
    assert set(SAMPLERS.values()) < OTHERS.keys()
    for kind, others in OTHERS.items():
        assert others.keys() == kind.model_fields.keys() - {"kind", "mean"}, kind.__name__


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_a_change_changes_the_id_where_it_has_an_effect(kind, name):
    around = dict(NEEDS.get((kind, name), {}))
    for rule in rules(kind, name)[:1]:
        for others in values_where(kind, rule, holds=True):
            around |= others
    before, after = made(kind, **around), made(kind, **around | {name: OTHERS[kind][name]})
    assert content_hash(before) != content_hash(after)
    assert kind.model_validate(after.model_dump()) == after


CONDITIONAL = [
    (kind, name)
    for kind, name in FIELDS
    if rules(kind, name) and values_where(kind, rules(kind, name)[0], holds=False)
]


@pytest.mark.parametrize(("kind", "name"), CONDITIONAL, ids=lambda x: getattr(x, "__name__", x))
def test_a_change_is_refused_where_it_has_none(kind, name):
    broken = [values_where(kind, rule, holds=False) for rule in rules(kind, name)]
    for other in broken[0]:
        around = {key: value for rest in broken[1:] for key, value in rest[0].items()} | other
        value = OTHERS[kind][name]
        made(kind, **around)  # fine without the key
        with pytest.raises((ConfigError, ValidationError)) as caught:
            made(kind, **around | {name: value})
        text = str(caught.value)
        (line,) = [line for line in text.splitlines() if "no effect" in line]
        assert f"{name} is " in line and f"remove {name}, or" in line
        default = kind.model_fields[name].default
        assert content_hash(made(kind, **around | {name: default})) == content_hash(
            made(kind, **around)
        )


@cache
def read_attributes():
    """Return the names of all attributes that the package reads."""
    root = Path(lambda_hat_core.__file__).parent
    trees = (ast.parse(file.read_text()) for file in root.rglob("*.py"))
    nodes = [node for tree in trees for node in ast.walk(tree)]
    plain = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    calls = [node for node in nodes if isinstance(node, ast.Call) and len(node.args) > 1]
    named = {
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == "getattr"
        and isinstance(call.args[1], ast.Constant)
    }
    return plain | named


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_every_field_is_read(kind, name):
    assert name in read_attributes()


def test_the_degrees_of_freedom_need_noise_or_a_loss_that_has_them():
    mlp = model.Mlp(hidden=4)

    def target(**fields):
        training = Training(loss=fields.pop("loss", "mse"))
        return TargetSpec(model=mlp, data=data.Synthetic(**fields), training=training)

    with pytest.raises(ValidationError, match=r"data\.student_df is 5\.0: it has no effect"):
        target(student_df=5.0)
    for fields in ({"noise_model": "student_t"}, {"loss": "student_t"}):
        assert target(**fields, student_df=5.0).id != target(**fields).id


@pytest.mark.parametrize(
    ("n", "fields", "same"),
    [
        (500, {"setup_rows": 600}, True),
        (500, {"setup_rows": None}, True),
        (500, {"setup_rows": 400}, False),
        (2000, {"setup_rows": None}, False),
        (2000, {"setup_rows": 1024}, True),
        (20_000, {"setup_rows": 1024}, False),
        (20_000, {"setup_rows": 1250}, True),
        (2000, {"record_rows": 500}, True),
        (2001, {"record_rows": 500}, False),
        (20_000, {"record_rows": None}, False),
        (None, {"setup_rows": 64, "record_rows": 64}, True),
    ],
)
def test_numbers_of_rows_that_do_what_the_default_does_are_the_default(n, fields, same):
    usual, other = (on_examples(Sgld(**f), n, written=False) for f in ({}, fields))
    assert (usual == other) is same


def test_numbers_of_rows_that_are_all_rows_are_one_number():
    made = (on_examples(Sgld(setup_rows=m), 20_000, written=False) for m in (None, 20_000, 30_000))
    assert {sampler.setup_rows for sampler in made} == {None}


@pytest.mark.parametrize(
    "fields",
    [{"widths": (3, 4), "hidden": 7}, {"target_params": 90, "hidden": 7}],
)
def test_a_hidden_width_is_refused_beside_another_size(fields):
    with pytest.raises(ValidationError, match="hidden is 7: it has no effect with"):
        model.Mlp(**fields)
    assert model.Mlp(widths=(7, 4), hidden=7, depth=2).hidden == 7


def test_a_depth_or_dimension_beside_a_list_must_agree_with_it():
    with pytest.raises(ValidationError, match="depth is 3: widths has 2 entries; remove depth"):
        model.Mlp(widths=(3, 4), depth=3)
    with pytest.raises(ValidationError, match="d is 3: spectrum has 2 entries; remove d"):
        model.Quadratic(spectrum=(1.0, 2.0), d=3)
