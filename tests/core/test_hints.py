"""Every hint points to a key that exists where the hint says; words of other tools get one."""

import re

import pytest

from lambda_hat_core.config.data import Synthetic, Teacher
from lambda_hat_core.config.experiment import ExperimentFile, SamplerEntry, TargetEntry
from lambda_hat_core.config.hints import _HINTS, hint
from lambda_hat_core.config.model import Mlp
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.training import Training

BESIDE = {"name", "seed", "dtype", "posterior", "overrides", "until"}
NOT_KEYS = {"it", "its"}


def pointed_to(words):
    """Return the keys that a hint says to write."""
    found = re.findall(r"write (\w+)(?: \([^)]*\))?(?:,? and (\w+)\b(?! the))?", words)
    return {key for pair in found for key in pair if key} - NOT_KEYS


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_hints_of_a_sampler_point_to_keys_that_exist(name):
    wrong = []
    fields = SAMPLERS[name].model_fields.keys()
    for key, words in _HINTS[name].items():
        known = {*fields, "posterior"}
        if "posterior" in words:
            known |= PosteriorSpec.model_fields.keys()
        if "beside" in words:
            known = BESIDE
        if key not in fields and not pointed_to(words) <= known:
            wrong.append((key, words))
    assert wrong == []


def test_the_hints_of_a_posterior_point_to_keys_that_exist():
    for key, words in _HINTS["posterior"].items():
        assert key not in PosteriorSpec.model_fields
        assert pointed_to(words) <= PosteriorSpec.model_fields.keys(), (key, words)


def test_the_hints_of_an_experiment_point_to_keys_that_exist():
    known = {*ExperimentFile.model_fields, "dtype", "seed", "training"}
    for key, words in _HINTS["experiment"].items():
        assert pointed_to(words) <= known, (key, words)


def test_the_hints_of_cards_and_tuning_files_point_to_keys_that_exist():
    from lambda_hat_assets.cards.card import Card
    from lambda_hat_assets.cards.slurm import SlurmTag
    from lambda_hat_core.config.study import TuneFile

    of_cards = Card.model_fields.keys() | SlurmTag.model_fields.keys()
    for group, known in (("card", of_cards), ("tuning", TuneFile.model_fields.keys())):
        for key, words in _HINTS[group].items():
            assert pointed_to(words) <= known, (key, words)


OTHERS = """lr localization num_draws num_burnin_steps num_steps_bw_draws num_chains noise_level
epsilon temperature weight_decay
bounding_box_size optimize_over optimize_over_per_model_param cores device
grad_accum_steps init_loss sampling_method seed"""


@pytest.mark.parametrize("name", ["sgld", "sghmc", "sgnht"])
def test_words_of_other_tools_are_understood(name):
    for word in OTHERS.split():
        assert hint(name, word), word
    assert "1 / temperature" in (hint(name, "temperature") or "")


IN_A_CARD = {
    "walltime": "tags.<dtype>.walltime",
    "partition": "tags.<dtype>.partition",
    "type": "tags.<dtype>.executor: local or slurm",
    "mem_per_node": "tags.<dtype>.memory, such as 16G",
    "worker_init": "tags.<dtype>.setup, a list of shell lines",
    "max_blocks": "max_concurrent",
}


@pytest.mark.parametrize("key", IN_A_CARD)
@pytest.mark.parametrize("group", ["experiment", "tuning"])
def test_a_key_of_a_card_leads_to_the_cards_and_to_its_name_there(group, key):
    words = hint(group, key) or ""
    assert words.startswith("this looks like a compute card, which goes to config/card/: ")
    assert words.endswith(f"; there it is {IN_A_CARD[key]}")


def test_every_name_in_a_card_exists_there():
    from lambda_hat_assets.cards.card import Card
    from lambda_hat_assets.cards.slurm import SlurmTag
    from lambda_hat_core.config.hints import _MEANING, _OF_CARD, _OF_TAG

    assert {*_OF_TAG.values()} <= SlurmTag.model_fields.keys()
    assert {*_OF_CARD.values()} <= Card.model_fields.keys()
    assert _MEANING.keys() <= {*_OF_TAG.values()}
    for key in Card.model_fields:
        assert "config/card/" in (hint("experiment", key) or "")


def test_a_file_in_the_place_of_another_leads_to_its_folder():
    from lambda_hat_core.config.study import TuneFile

    experiment, tuning = ExperimentFile.model_fields.keys(), TuneFile.model_fields.keys()
    places = [
        ("card", experiment, "config/experiment/"),
        ("card", tuning, "config/tune/"),
        ("tuning", experiment - tuning, "config/experiment/"),
        ("experiment", tuning - experiment - {"sampler"}, "config/tune/"),
    ]
    for group, keys, folder in places:
        assert [key for key in keys if folder not in (hint(group, key) or "")] == []


def test_the_hints_of_other_parts_point_to_keys_that_exist():
    of = {
        "target": TargetEntry,
        "sampler entry": SamplerEntry,
        "model": Mlp,
        "data": Synthetic,
        "teacher": Teacher,
        "training": Training,
        "until": Until,
    }
    of_entries = {"seed", "model", "posterior", "n_draws"}
    for group, model in of.items():
        known = model.model_fields.keys()
        known = known | of_entries | ({"d"} if group == "model" else set())
        for key, words in _HINTS[group].items():
            assert key not in model.model_fields, (group, key)
            assert pointed_to(words) <= known, (group, key, words)
