"""Equivalent specifications have the same id, and ids do not change."""

import hashlib

import pytest
import rfc8785

from lambda_hat_core.config.base import canonical_json
from lambda_hat_core.config.data import NoData, Synthetic, Teacher
from lambda_hat_core.config.model import Custom, Mlp
from lambda_hat_core.config.posterior import PosteriorSpec, Prior
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.config.training import Training
from tests.core.plans import one, only


def test_ids_have_not_changed():
    target = TargetSpec(
        model=Mlp(in_dim=4, out_dim=1, widths=(4, 4), hidden=4),
        data=Synthetic(n_data=500),
        teacher=Teacher(depth=2, widths=(4, 4), activation="relu"),
        seed=7,
    )
    assert target.id == "tgt_b3961c37e37a"
    run = RunSpec(
        target=target.id,
        sampler=Nuts(n_draws=500),
        posterior=PosteriorSpec(loss="mse", gamma=10),
        seed=1,
        dtype="float64",
    )
    assert run.id == "run_nuts_e7165cd8a2ea"


def test_ids_are_hashes_of_rfc_8785():
    target = TargetSpec(
        model=Custom(factory="a:b", kwargs={"é": [1, 2.5, None], "a": {"b": 1e-7}}), data=NoData()
    )
    plain = rfc8785.dumps(target.model_dump(mode="json"))
    assert canonical_json(target) == plain
    assert target.id == f"tgt_{hashlib.sha256(plain).hexdigest()[:12]}"
    as_float = TargetSpec(
        model=Custom(factory="a:b", kwargs={"é": [1.0, 2.5, None], "a": {"b": 1e-7}}), data=NoData()
    )
    assert as_float.id == target.id
    assert Nuts(n_draws=700) == Nuts()


def test_fields_that_came_later_are_left_out_at_their_defaults():
    assert not {"schedule", "l2", "init_scale"} & Training().model_dump().keys()
    assert Training(l2=1e-4).model_dump()["l2"] == 1e-4


def changed(spec, others):
    """Return the ids of `spec` with one field after another changed; all fields must be given."""
    assert others.keys() == type(spec).model_fields.keys()
    return [spec.model_copy(update={name: value}).id for name, value in others.items()]


def test_every_field_is_in_the_id():
    posterior = PosteriorSpec()
    others = {
        "loss": "mse",
        "beta_mode": "fixed",
        "beta0": 2.0,
        "nbeta": 50.0,
        "gamma": 1.5,
        "prior_radius": 3.0,
        "sigma": 0.5,
        "restrict": ("head.*",),
        "prior": Prior(precision=1.0),
    }
    assert others.keys() == PosteriorSpec.model_fields.keys()
    run = RunSpec(target=f"tgt_{0:012}", sampler=Nuts(), posterior=posterior, dtype="float64")
    ids = changed(
        run,
        {
            "target": f"tgt_{1:012}",
            "sampler": Nuts(n_draws=701),
            "posterior": posterior.model_copy(update={"gamma": 2.0}),
            "seed": 1,
            "dtype": "float32",
            "numerics_version": run.numerics_version + 1,
            "hold": f"tgt_{2:012}",
            "observables": ("val",),
        },
    )
    for name, value in others.items():
        other = posterior.model_copy(update={name: value})
        ids.append(run.model_copy(update={"posterior": other}).id)
    assert len({run.id, *ids}) == 1 + len(ids)
    target = TargetSpec(model=Mlp(in_dim=4, out_dim=1, hidden=4), data=Synthetic())
    ids = changed(
        target,
        {
            "model": Mlp(in_dim=4, out_dim=1, hidden=5),
            "data": Synthetic(n_data=501),
            "teacher": Teacher(depth=2),
            "training": Training(steps=7),
            "seed": 1,
            "numerics_version": target.numerics_version + 1,
            "step": 0,
        },
    )
    assert len({target.id, *ids}) == 1 + len(ids)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (
            "{model: {hidden: 8}}",
            "{model: {widths: [8, 8]}, data: {kind: synthetic}, teacher: _null}",
        ),
        ("{model: small}", "{model: {target_params: 50}}"),
        ("{model: small}", "{model: base, overrides: {model: {depth: 2, in_dim: 4, hidden: 4}}}"),
        ("{model: small}", "{model: small, teacher: {hidden: 4}, training: {loss: gaussian}}"),
        ("{model: small}", "{model: small, teacher: {depth: 2}, training: {lr: 1e-3}}"),
        ("{model: small, data: medium}", "{model: small, data: {n_data: 1000.0}}"),
        (
            "{model: small, data: digits}",
            "{model: {target_params: 50, in_dim: 64}, data: {kind: digits}}",
        ),
        (
            "{model: {kind: normal_crossing, powers: [1, 2]}}",
            "{model: {kind: normal_crossing, powers: [1, 2], point: [0, 0]}, data: {n_data: 1000}}",
        ),
    ],
)
def test_equivalent_specs_have_one_id(plan_of, left: str, right: str):
    assert only(plan_of(one(left)))[1].id == only(plan_of(one(right)))[1].id


def test_a_sampler_s_key_displaces_the_experiment_s_that_it_overrides(plan_of):
    def of(experiment, sampler):
        entry = f"{{name: nuts, posterior: {{{sampler}}}}}"
        rest = f"posterior: {{{experiment}}}"
        return only(plan_of(one("{model: small}", entry, rest=rest)))[1]

    by_radius = of("gamma: 7", "prior_radius: 2")
    assert by_radius.id == of("", "prior_radius: 2").id
    assert by_radius.posterior.resolved_gamma(8) == 2
    assert of("beta0: 3, gamma: 7", "nbeta: 50").id == of("gamma: 7", "nbeta: 50").id


def test_an_override_displaces_the_keys_of_a_preset_that_it_leaves_without_effect(plan_of):
    entry = "{model: small, training: fast, overrides: {training.start: truth}}"
    other = "{model: small, training: {start: truth}}"
    assert only(plan_of(one(entry)))[1].id == only(plan_of(one(other)))[1].id


def test_the_same_run_written_twice_is_one_run(plan_of):
    plan = plan_of(
        one("{model: small}, {model: {target_params: 50}}", "{name: nuts}, {name: nuts}")
    )
    assert (len(plan.targets), len(plan.runs)) == (1, 1)
