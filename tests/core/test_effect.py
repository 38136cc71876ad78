"""Every field of every model: a change of it changes the id and is used, or is refused."""

import ast
from functools import cache
from pathlib import Path

import pytest
from pydantic import ValidationError

import lambda_hat_core
from lambda_hat_core.config import data, model, tasks
from lambda_hat_core.config.base import content_hash
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.effect import Above, When
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.posterior import PosteriorSpec, Prior
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training

_CHAINS = {
    "setup_rows": 500,
    "n_chains": 2,
    "n_draws": 5000,
    "n_burn": 50,
    "thin": 3,
    "record_rows": 500,
    "until": Until(),
}
_METRIC = {"metric": "identity"}
_ADAPTED = {"n_warmup": 50, "target_acceptance": 0.7}
_BATCHES = {"batch_size": 64, "step_fraction": 0.2, "noise": "philox", "step_size": 0.01}
_CONSTANT = {"damping": 1.0, "extrapolate": False, "gradient": "control_variate"}
_MOMENTS = {
    "beta1": 0.5,
    "beta2": 0.9,
    "eps": 1e-6,
    "bias_correction": False,
    "freeze_preconditioner": False,
}

OTHERS = {
    SAMPLERS["nuts"]: _CHAINS | _METRIC | _ADAPTED | {"max_doublings": 8},
    SAMPLERS["hmc"]: _CHAINS | _METRIC | _ADAPTED | {"n_leapfrog": 4},
    SAMPLERS["tempered"]: _CHAINS
    | {
        "n_warmup": 60,
        "target_acceptance": 0.6,
        "n_replicas": 5,
        "nbeta_min": 1.0,
        "ladder": (10.0, 1.0),
        "kernel": "mala",
        "n_leapfrog": 2,
    },
    SAMPLERS["mala"]: _CHAINS | _METRIC | _ADAPTED | {"step_size": 0.1},
    SAMPLERS["mclmc"]: _CHAINS
    | _METRIC
    | {
        "n_tune": 500,
        "desired_energy_var": 1e-3,
        "integrator": "isokinetic_velocity_verlet",
        "L": 2.0,
        "step_size": 0.1,
    },
    SAMPLERS["adjusted_mclmc"]: _CHAINS | _METRIC | {"n_tune": 500, "target_acceptance": 0.8},
    SAMPLERS["sgld"]: _CHAINS
    | _BATCHES
    | _CONSTANT
    | _MOMENTS
    | {"precond": "rmsprop", "integrator": "euler"},
    SAMPLERS["sghmc"]: _CHAINS | _BATCHES | _CONSTANT | {"precond": "none", "alpha": 0.2},
    SAMPLERS["sgnht"]: _CHAINS | _BATCHES | _CONSTANT | {"precond": "none", "alpha": 0.2},
    SAMPLERS["vi"]: {
        "setup_rows": 500,
        "until": Until(),
        "algo": "flow",
        "n_chains": 2,
        "n_draws": 500,
        "steps": 100,
        "batch_size": 32,
        "n_samples": 2,
        "lr": 0.1,
        "lr_schedule": "constant",
        "lr_warmup_frac": 0.1,
        "clip_global_norm": 1.0,
        "whitening": "adam",
        "whitening_decay": 0.9,
        "M": 1,
        "r": 2,
        "r_per_component": (1, 1, 1, 2),
        "tie_means": True,
        "alpha_dirichlet_prior": 2.0,
        "entropy_bonus": 0.1,
        "alpha_temperature": 2.0,
        "hvp_control_variate": False,
        "d_latent": 4,
        "flow_type": "maf",
        "flow_depth": 2,
        "flow_hidden": 8,
        "tensorboard": True,
    },
    Until: {"rel_se": 0.1, "max_fge": 100.0, "max_draws": 100},
    PosteriorSpec: {
        "loss": "mse",
        "beta_mode": "fixed",
        "beta0": 2.0,
        "nbeta": 50.0,
        "gamma": 2.0,
        "prior_radius": 3.0,
        "sigma": 0.5,
        "restrict": ("head.*",),
        "prior": Prior(precision=0.5),
    },
    Prior: {"precision": 2.0},
    Training: {
        "loss": "mse",
        "start": "truth",
        "optimizer": "adamw",
        "lr": 0.1,
        "steps": 10,
        "batch_size": 10,
        "weight_decay": 0.1,
        "polish": "none",
        "polish_steps": 10,
        "grad_tol": 1e-6,
        "schedule": "constant",
        "l2": 0.1,
        "init_scale": 0.1,
    },
    data.Synthetic: {
        "n_data": 10,
        "n_test": 10,
        "x_dist": "mixture",
        "cov_decay": 0.5,
        "mixture_k": 2,
        "mixture_spread": 1.0,
        "x_dim_latent": 3,
        "noise_model": "hetero",
        "noise_scale": 0.2,
        "hetero_scale": 0.2,
        "student_df": 5.0,
        "heavy_tail_df": 5.0,
        "outlier_frac": 0.1,
        "outlier_scale": 1.0,
    },
    data.Digits: {"n_data": 10},
    data.Diabetes: {"n_data": 10},
    data.NoData: {"n_data": 10},
    tasks.Modular: {"p": 7, "operation": "multiply", "train_fraction": 0.5, "split_seed": 1},
    tasks.SparseFeatures: {"n_data": 10, "n_test": 10, "features": 5, "sparsity": 0.9},
    tasks.Induction: {
        "n_data": 10,
        "n_test": 10,
        "vocabulary": 20,
        "context": 20,
        "min_period": 5,
        "max_period": 7,
        "scored": "all",
    },
    tasks.IclRegression: {
        "n_data": 10,
        "n_test": 10,
        "dim": 2,
        "examples": 4,
        "noise_scale": 0.1,
        "tasks": 8,
    },
    data.Teacher: {
        "depth": 3,
        "widths": (3, 3),
        "target_params": 90,
        "hidden": 3,
        "activation": "tanh",
        "dropout_rate": 0.1,
    },
    model.Mlp: {
        "in_dim": 3,
        "out_dim": 2,
        "depth": 3,
        "widths": (3, 4),
        "target_params": 90,
        "hidden": 3,
        "activation": "tanh",
        "bias": False,
        "layernorm": True,
        "skip_connections": True,
        "residual_period": 1,
    },
    model.ModularMlp: {"embedding": 4, "hidden": 8},
    model.Superposition: {"hidden": 3, "polygon": 5},
    model.Transformer: {
        "n_layers": 1,
        "n_heads": 4,
        "d_model": 16,
        "d_mlp": 8,
        "tied": True,
        "layer_norm": True,
    },
    model.DeepLinear: {"widths": (3, 5, 3), "rank": 1},
    model.QuadraticActivation: {"in_dim": 4, "width": 4, "rank": 1},
    model.DiagonalLinear: {"in_dim": 4, "depth": 3, "n_zero": 1},
    model.Quadratic: {
        "spectrum": (1.0, 2.0),
        "d": 4,
        "condition": 10.0,
        "h_max": 2.0,
        "rank": 2,
        "rotate": False,
    },
    model.NormalCrossing: {"powers": (2, 1), "point": (1.0, 0.0)},
    model.Custom: {
        "factory": "b:f",
        "kwargs": {"k": 1},
        "files": ("table.csv",),
        "source_sha256": "0" * 64,
        "checkpoints": "run7/step_*.npz",
        "checkpoint_sha256": "0" * 64,
    },
}
"""Another value of every field but `kind`, and `mean`, which has one value only."""

REQUIRED = {
    model.DeepLinear: {"widths": (3, 4, 3), "rank": 2},
    model.QuadraticActivation: {"in_dim": 3, "width": 3, "rank": 2},
    model.DiagonalLinear: {"in_dim": 3},
    model.NormalCrossing: {"powers": (1, 1)},
    model.Custom: {"factory": "a:f"},
    Prior: {"precision": 1.0},
}

NEEDS = {(PosteriorSpec, "sigma"): {"loss": "gaussian"}}
"""Fields with a requirement of another kind than `When`."""

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
