"""Profiles over gamma and nbeta on the page, with each bias as a number."""

import math
import re

import numpy as np
import pytest

from tests.core.fake_numerics import target
from tests.core.test_gallery import made_analysis, made_target, store

__all__ = ["store"]


def spec(sampler, seed=0, **posterior):
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec

    return RunSpec(
        target=target().id,
        sampler={"n_draws": 20, "n_burn": 10, **sampler},
        posterior=PosteriorSpec(loss="own", **posterior),
        seed=seed,
        dtype="float64",
    )


NUTS, SGLD = {"kind": "nuts"}, {"kind": "sgld"}


def add(store, sampler, llc, posterior, **facts):
    run = spec(sampler, **posterior)
    facts = {"gamma": 1.0, "nbeta": 1e3, "llc_se": 0.01, **posterior, **facts}
    made_analysis(store, run, llc=llc, **facts)
    return run


def page_of(store, runs):
    from lambda_hat_core.gallery.members import Gallery, Member
    from lambda_hat_core.work import making

    made_target(store, target())
    labels = (f"{run.sampler.kind} (own, gamma {run.posterior.gamma:g}, seed 0)" for run in runs)
    members = {
        run.id: Member(target=target().id, sampler=run.sampler.kind, label=label)
        for run, label in zip(runs, labels, strict=True)
    }
    gallery = Gallery(experiment="exp", targets={target().id: "net"}, runs=members)
    record = making.build_gallery(store, gallery, print).record
    return record, (store.path("galleries", gallery.id) / "index.html").read_text()


def test_two_plateaus_are_mentioned_on_the_page(store):
    gammas = np.geomspace(0.1, 1e4, 6)
    levels = [7.0, 7.0, 7.0, 8.0, 8.0, 8.0]
    runs = [add(store, NUTS, a, {"gamma": g}) for g, a in zip(gammas, levels, strict=True)]
    runs.append(add(store, SGLD, 9.0, {"gamma": 1.0}))
    record, text = page_of(store, runs)
    (profile,) = record["profiles"]
    assert "2 plateaus: 7 " in profile["note"]
    assert profile["note"].startswith("net: nuts (own, seed 0): ")
    assert "gamma decides which coefficient is estimated" in text
    assert text.count('gamma_profile_1.png" alt="gamma profile 1 of net"') == 1
    snippet = (store.path("galleries", "exp") / "gallery.md").read_text()
    assert "gamma_profile" in snippet


def test_the_three_biases_are_listed_as_numbers(store):
    """lambda = 5, m = 3; SGLD estimates 0.4 more than NUTS, and its ledger predicts 1 more."""
    nbetas = (1e3, 1e4, 1e5)
    exact = [5 - 2 / math.log(nbeta) for nbeta in nbetas]
    runs = [add(store, NUTS, a, {"nbeta": x}) for x, a in zip(nbetas, exact, strict=True)]
    runs += [add(store, SGLD, a + 0.4, {"nbeta": x}) for x, a in zip(nbetas, exact, strict=True)]
    ledger = {"stable": True} | {
        name: {"absolute": value} for name, value in (("discretisation", 0.2), ("minibatch", 0.8))
    }
    alone = {"ledger": ledger, "gamma": 2.0}
    more = [add(store, SGLD, 5.0, {"nbeta": x, "gamma": 2.0}, **alone) for x in nbetas[:2]]
    record, text = page_of(store, [*more, *runs])
    first, *_ = [found["note"] for found in record["profiles"] if "nbeta" in found["figure"]]
    assert "nuts" in first and "lambda = 5.0" in first and "m = 3.0" in first
    lines = [line for line in text.split("<tr>") if line.count("<td>") == 5]
    assert len(lines) == 8
    for line, nbeta in zip(lines, [*nbetas, *nbetas[:2], *nbetas], strict=True):
        cells = [cell.split("</td>")[0] for cell in line.split("<td>")[1:]]
        assert len(cells) == 5
        assert "(first half against second)" in cells[4]
        if lines.index(line) not in (3, 4):
            assert float(cells[2].split()[0]) == pytest.approx(-2 / math.log(nbeta), abs=0.01)
    assert "<td>0 (exact sampler)</td>" in lines[0]
    assert "<td>0 (taken off as predicted)</td>" in lines[3]
    assert "<td>0.400 ± 0.014 (against nuts)</td>" in lines[6]


def test_small_nbeta_and_the_negative_control_have_no_bias_of_temperature(store):
    """At nbeta = 0 and 1, log nbeta is no number and 0."""
    nbetas = (1.0, 1e3, 1e4)
    runs = [add(store, NUTS, 4 + 0.1 * x / 1e4, {"nbeta": x}) for x in nbetas]
    runs.append(add(store, NUTS, 0.0, {"nbeta": 0.0}))
    _, text = page_of(store, runs)
    table = re.search(r'<table class="biases">.*?</table>', text, re.DOTALL)
    assert table is not None
    rows = [re.findall("<td>(.*?)</td>", row) for row in table[0].split("<tr>")[1:]]
    assert [row[0] for row in rows] == ["1", "1k", "10k"]
    assert [row[2] == "not known" for row in rows] == [True, False, False]


def test_the_burn_in_bias_compares_all_draws_with_the_second_half():
    from lambda_hat_core.analysis.biases import burn_in_bias

    rng = np.random.default_rng(0)
    steady = rng.normal(5.0, 1.0, size=(8, 400))
    still = burn_in_bias(steady)
    assert still is not None and abs(still.value) < 3 * still.se < 0.1
    steady[:, :200] -= 1.0
    found = burn_in_bias(steady)
    assert found is not None and found.value == pytest.approx(-0.5, abs=4 * found.se)
    assert burn_in_bias(steady[:1]) is None


def test_runs_that_differ_in_other_settings_are_no_profile(store):
    runs = [add(store, NUTS, 5.0, {"gamma": 1.0}), add(store, SGLD, 5.0, {"gamma": 10.0})]
    record, text = page_of(store, runs)
    assert record["profiles"] == []
    assert "profile" not in text


def test_a_bias_that_was_extrapolated_away_is_not_predicted():
    from lambda_hat_core.analysis.biases import step_bias

    parts = {name: {"absolute": 0.5} for name in ("discretisation", "minibatch")}
    facts = {"sampler": "sghmc", "llc": 5.0, "llc_se": 0.1, "ledger": {"stable": True, **parts}}
    predicted = step_bias(facts | {"step_bias": None}, None)
    assert predicted is not None and (predicted.value, predicted.source) == (1.0, "predicted")
    left = step_bias(facts | {"step_bias": 0.7}, None)
    assert left is not None and (left.value, left.source) == (0.0, "extrapolated")
