"""Incompatible parts are rejected by `TargetSpec`, in Python as in a file."""

import pytest
from pydantic import ValidationError

from lambda_hat_core.config.compatible import POTENTIALS, UNTRAINED
from lambda_hat_core.config.data import Diabetes, Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.model import (
    Custom,
    DeepLinear,
    DiagonalLinear,
    Mlp,
    ModularMlp,
    NormalCrossing,
    Quadratic,
    QuadraticActivation,
    Superposition,
    Transformer,
)
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.config.training import Training

MLP = Mlp(widths=(4, 5))
DEEP = DeepLinear(widths=(3, 4, 3), rank=2)
CUSTOM = Custom(factory="json:loads")
TRUTH = Training(start="truth")
LABELS = "the digits' labels are classes"
NUMBERS = "data are numbers, not classes"

REFUSED = {
    "a network without data": (
        {"model": MLP, "data": NoData()},
        ('data is "none"', "an mlp needs data", "choose kind synthetic"),
    ),
    "a potential with data": (
        {"model": Quadratic(), "data": Synthetic()},
        ('data is "synthetic"', "a quadratic potential has no", "write data: {n_data"),
    ),
    "a truth of its own with real data": (
        {"model": DEEP, "data": Digits()},
        ('data is "digits"', "defines the truth", "choose model kind mlp"),
    ),
    "a factory with data": (
        {"model": CUSTOM, "data": NoData(n_data=5)},
        ('data is {"n_data": 5', "factory returns its data and n", "remove data"),
    ),
    "inputs that the data have not": (
        {"model": Mlp(in_dim=3), "data": Diabetes()},
        ("model.in_dim is 3", "diabetes data have 10 inputs", "in_dim: null"),
    ),
    "classes that the data have not": (
        {"model": Mlp(out_dim=3), "data": Digits()},
        ("model.out_dim is 3", "digits data have 10 classes", "out_dim: null"),
    ),
    "a teacher of real data": (
        {"model": MLP, "data": Digits(), "teacher": Teacher(hidden=3)},
        ('teacher is {"hidden": 3}', "digits data can have none", "remove teacher"),
    ),
    "a teacher of a potential": (
        {"model": Quadratic(), "data": NoData(), "teacher": Teacher()},
        ("teacher is {}", "a quadratic target can have none", "remove teacher"),
    ),
    "a teacher of no known width": (
        {"model": MLP, "data": Synthetic(), "teacher": Teacher(depth=3)},
        ("teacher.depth is 3", "widths [4, 5] differ", "give widths"),
    ),
    "a loss of numbers for classes": (
        {"model": MLP, "data": Digits(), "training": Training(loss="mse")},
        ('training.loss is "mse"', LABELS, "write cross_entropy"),
    ),
    "a loss of classes for numbers": (
        {"model": MLP, "data": Synthetic(), "training": Training(loss="cross_entropy")},
        ('training.loss is "cross_entropy"', NUMBERS, "write mse"),
    ),
    "its own loss for a network": (
        {"model": DEEP, "data": Synthetic(), "training": Training(loss="own")},
        ('training.loss is "own"', "no loss of its own", "write mse"),
    ),
    "another loss for a potential": (
        {"model": Quadratic(), "data": NoData(), "training": Training(loss="mse")},
        ('training.loss is "mse"', "has its own loss", "remove it"),
    ),
    "a scaled loss without a scale": (
        {"model": MLP, "data": Diabetes(), "training": Training(loss="student_t")},
        ('training.loss is "student_t"', "no noise_scale > 0", "write mse"),
    ),
    "training of a potential": (
        {"model": Quadratic(), "data": NoData(), "training": Training(steps=3)},
        ("training.steps is 3", "is not trained", "remove it"),
    ),
    "the truth of a factory": (
        {"model": CUSTOM, "data": NoData(), "training": TRUTH},
        ('training.start is "truth"', "its factory's params", "write start: random"),
    ),
    "the truth of real data": (
        {"model": MLP, "data": Diabetes(), "training": TRUTH},
        ('training.start is "truth"', "diabetes data have no known truth", "start: random"),
    ),
    "the truth of another network": (
        {"model": MLP, "data": Synthetic(), "teacher": Teacher(hidden=7), "training": TRUTH},
        ('training.start is "truth"', "no student weights are known", "teacher: _null"),
    ),
    "the truth behind a mask": (
        {
            "model": MLP,
            "data": Synthetic(),
            "teacher": Teacher(dropout_rate=0.1),
            "training": TRUTH,
        },
        ('training.start is "truth"', "dropout_rate is 0.1", "dropout_rate: 0"),
    ),
    "an mlp on pairs of integers": (
        {"model": MLP, "data": Modular()},
        ('data is "modular"', "an mlp cannot read modular", "choose kind synthetic"),
    ),
    "a network for another task": (
        {"model": Superposition(), "data": Induction()},
        ('data is "induction"', "is for sparse_features data", "write data: {kind: sparse_f"),
    ),
    "a transformer on rows of numbers": (
        {"model": Transformer(), "data": Synthetic()},
        ('data is "synthetic"', "for induction or modular or icl", "write data: {kind: induction}"),
    ),
    "a read-out tied to no embedding": (
        {"model": Transformer(tied=True), "data": IclRegression()},
        ("model.tied is true", "without tokens", "remove tied"),
    ),
    "more corners than features": (
        {"model": Superposition(polygon=7), "data": SparseFeatures()},
        ("model.polygon is 7", "have 6 features", "raise data.features"),
    ),
    "a loss of numbers for tokens": (
        {"model": Transformer(), "data": Induction(), "training": Training(loss="mse")},
        ('training.loss is "mse"', "labels of induction data are classes", "write cross_entropy"),
    ),
    "a loss of classes for features": (
        {
            "model": Superposition(),
            "data": SparseFeatures(),
            "training": Training(loss="cross_entropy"),
        },
        ('training.loss is "cross_entropy"', "sparse_features data are numbers", "write mse"),
    ),
    "the truth of a task": (
        {"model": ModularMlp(), "data": Modular(), "training": TRUTH},
        ('training.start is "truth"', "modular data have no known truth", "start: random"),
    ),
    "a scale for the start of a factory": (
        {"model": CUSTOM, "data": NoData(), "training": Training(init_scale=0.1)},
        ("training.init_scale is 0.1", "its factory's params", "remove it"),
    ),
    "a batch of more pairs than there are": (
        {"model": ModularMlp(), "data": Modular(p=5), "training": Training(batch_size=11)},
        ("training.batch_size is 11", "n_data = 10 examples", "lower it"),
    ),
    "a batch of more than there is": (
        {"model": MLP, "data": Synthetic(n_data=5), "training": Training(batch_size=6)},
        ("training.batch_size is 6", "n_data = 5 examples", "lower it"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_incompatible_parts_are_refused_in_one_sentence(name):
    fields, words = REFUSED[name]
    with pytest.raises(ValidationError) as caught:
        TargetSpec(**fields)
    (error,) = caught.value.errors()
    message, (thing, rule, way_out) = error["msg"].removeprefix("Value error, "), words
    assert message.startswith(thing) and "\n" not in message
    assert message.index(rule) < message.rindex(way_out) and "; " in message


ALLOWED = {
    "a network": {"model": MLP, "data": Synthetic()},
    "a network at its truth": {"model": MLP, "data": Synthetic(), "training": TRUTH},
    "a teacher that spells out the student": {
        "model": Mlp(hidden=4),
        "data": Synthetic(),
        "teacher": Teacher(widths=(4, 4), activation="relu"),
        "training": TRUTH,
    },
    "a larger teacher": {"model": MLP, "data": Synthetic(), "teacher": Teacher(hidden=64)},
    "digits": {"model": MLP, "data": Digits(), "training": Training(loss="cross_entropy")},
    "dimensions of the data": {"model": Mlp(in_dim=64, out_dim=10), "data": Digits()},
    "as many rows a batch as there are": {
        "model": MLP,
        "data": Synthetic(n_data=5),
        "training": Training(batch_size=5),
    },
    "rows of a factory": {"model": CUSTOM, "data": NoData(), "training": Training(batch_size=5000)},
    "a potential": {"model": NormalCrossing(powers=(1,)), "data": NoData(n_data=7)},
    "a potential, spelled out": {"model": Quadratic(), "data": NoData(), "training": UNTRAINED},
    "modular addition": {"model": ModularMlp(), "data": Modular(), "training": Training(l2=1e-4)},
    "features": {"model": Superposition(polygon=6), "data": SparseFeatures(sparsity=0.9)},
    "tokens": {"model": Transformer(tied=True), "data": Induction()},
    "pairs as tokens": {"model": Transformer(), "data": Modular(operation="multiply")},
    "regressions in context": {
        "model": Transformer(d_mlp=8),
        "data": IclRegression(),
        "training": Training(loss="gaussian"),
    },
    "a small start": {"model": DEEP, "data": Synthetic(), "training": Training(init_scale=0.01)},
    "squares": {"model": QuadraticActivation(in_dim=3, width=2, rank=1), "data": Synthetic()},
    "factors": {"model": DiagonalLinear(in_dim=3), "data": Synthetic(), "training": TRUTH},
}


@pytest.mark.parametrize("name", ALLOWED)
def test_compatible_parts_make_a_target_that_can_be_read_again(name):
    spec = TargetSpec(**ALLOWED[name])
    assert TargetSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_potential_accepts_only_defaults_of_training():
    others = {
        "loss": "mse",
        "optimizer": "sgd",
        "lr": 1.0,
        "steps": 1,
        "batch_size": 1,
        "polish": "none",
        "polish_steps": 1,
        "grad_tol": 1.0,
        "schedule": "constant",
        "l2": 1.0,
        "init_scale": 2.0,
    }
    left = Training.model_fields.keys() - others - {"start", "weight_decay"}
    assert not left, "start is either default, and weight_decay needs another optimizer"
    for name, value in others.items():
        for model in (Quadratic(), NormalCrossing(powers=(1,))):
            assert isinstance(model, POTENTIALS)
            with pytest.raises(ValidationError, match=rf"training\.{name} is"):
                TargetSpec(model=model, data=NoData(), training=Training(**{name: value}))


@pytest.mark.parametrize("loss", [None, "mse", "cross_entropy", "own"])
def test_sigma_is_refused_for_a_loss_without_a_noise_scale(loss):
    with pytest.raises(ConfigError, match=r"Posterior: sigma is 0\.5: only .*; write loss: gau"):
        PosteriorSpec(loss=loss, sigma=0.5)
    assert PosteriorSpec(loss="gaussian", sigma=0.5).sigma == 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Superposition(hidden=3, polygon=4), "polygon is 4: .* hidden is 3; set hidden"),
        (lambda: Transformer(d_model=10, n_heads=4), "d_model is 10: .* write a multiple of 4"),
        (
            lambda: Modular(p=2, train_fraction=0.1),
            "train_fraction is 0.1: of 4 pairs none .*raise",
        ),
        (lambda: Induction(min_period=9), "min_period is 9: max_period is 8; choose <= 8"),
        (lambda: Induction(vocabulary=7), "max_period is 8: .* vocabulary is 7; lower it, or"),
        (lambda: Induction(context=8), "max_period is 8: .* context is 8; lower it, or raise con"),
    ],
)
def test_impossible_sizes_of_a_task_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()
