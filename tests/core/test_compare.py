"""A page that compares two experiments: pairs, differences with their errors, and what is alone."""

import re

import pytest

from tests.core.fake_numerics import target
from tests.core.test_gallery import Page, made_analysis, made_target, store
from tests.core.test_gallery_profiles import NUTS, SGLD, spec

__all__ = ["store"]


def gallery(name, runs, targets=None):
    from lambda_hat_core.gallery.members import Gallery, Member

    members = {
        run.id: Member(
            target=run.target, sampler=run.sampler.kind, label=f"{run.sampler.kind} ({words})"
        )
        for run, words in runs
    }
    return Gallery(experiment=name, targets=targets or {target().id: "net <1>"}, runs=members)


def add(store, sampler, seed=0, gamma=1.0, **facts):
    run = spec(sampler, seed=seed, gamma=gamma)
    made_analysis(store, run, gamma=gamma, **facts)
    return run, f"own, gamma {gamma:g}, seed {seed}"


@pytest.fixture
def two(store):
    """Return two experiments: three pairs, of which one differs, and a run without counterpart."""
    made_target(store, target())
    shared = add(store, NUTS, seed=1, llc=5.0, llc_se=0.1)
    first = [
        add(store, SGLD, seed=1, gamma=g, llc=4.0, llc_se=0.03, work_fge=100.0) for g in (1, 9)
    ]
    why = {"verdict": "suspect", "reasons": ["too few <draws>"], "advice": ["until.max_fge: 9"]}
    second = [
        add(store, SGLD, seed=2, gamma=9, llc=4.5, llc_se=0.04, work_fge=250.0),
        add(store, SGLD, seed=2, gamma=1, llc=4.1, llc_se=0.04, work_fge=250.0, **why),
    ]
    alone = add(store, {"kind": "hmc"}, llc=5.0, llc_se=0.1)
    return gallery("a", [shared, *first, alone]), gallery("b", [shared, *second])


def test_runs_are_paired_by_target_sampler_and_what_their_labels_share(store, two):
    from lambda_hat_core.gallery.pairs import paired
    from lambda_hat_core.gallery.rows import read_rows

    found = paired(*(read_rows(store, gallery) for gallery in two))
    gammas = [[row.facts["gamma"] for row in pair] for pair in found.pairs[1:]]
    assert gammas == [[1.0, 1.0], [9.0, 9.0]]
    same, small, large = found.pairs
    assert same.same and same.difference == 0.0 and same.z is None
    assert (large.difference, large.se, large.z) == pytest.approx((0.5, 0.05, 10.0))
    assert small.z == pytest.approx(2.0)
    assert found.limit == pytest.approx(2.2414, abs=1e-4), "two pairs at 5 % together"
    assert found.differing() == [large]
    assert [row.member.sampler for row in found.only_first] == ["hmc"]
    assert found.only_second == []


def test_the_page_has_every_pair_with_its_difference_and_both_verdicts(store, two):
    from lambda_hat_core.gallery.compare import comparison

    text = comparison(store, *two)
    page = Page(text)
    same, small, large = page.rows.values()
    assert large["llc"][1] == "0.500 ± 0.050differs" and small["llc"][1] == "0.100 ± 0.050agrees"
    assert same["llc"][1] == "0the same run"
    assert [row["sampler"][1] for row in (small, large)] == ["sgld gamma 1", "sgld gamma 9"]
    assert small["verdict"][1] == "ok suspectsecond: too few <draws> set until.max_fge: 9"
    assert small["verdict"][0]["data-sort"] == "suspect"
    assert "1 differs by more than chance, 1 is one run of both." in text
    assert "<h2>Only in a</h2><ul><li>hmc on net &lt;1&gt;</li></ul>" in text
    assert len(page.images) == 1 and page.images[0].startswith("data:image/png;base64,")
    assert not re.search(
        r"https?://|//[a-z]|@import|url\(", re.sub(r'"data:[^"]*"', "", text).split("<script>")[0]
    )
    assert len([h for h in page.headings if h["scope"] == "col"]) == 8
    labels = re.findall(r'data-label="([^"]*)"', text)
    assert labels[:5] == ["difference", "z", "a", "b", "work ratio"]


def test_experiments_without_a_common_target_are_an_error(store, two):
    from lambda_hat_core.gallery.compare import comparison

    other = gallery("c", [], {"tgt_000000000000": "another"})
    with pytest.raises(ValueError, match=r"a and c have no target in common.*the same entries"):
        comparison(store, two[0], other)
