"""The division of work into steps and batches, tested without a Dagster run."""

from lambda_hat_assets.cards.card import Card, LocalTag, Tags
from lambda_hat_assets.jobs.batches import batches, shares, step_count
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.spec import RunSpec


def test_shares_are_contiguous_and_take_equally_long():
    even = dict.fromkeys("abcdef", 1.0)
    assert shares("abcdef", even, 2) == [list("abc"), list("def")]
    assert shares("abcdef", even | {"a": 5.0}, 2) == [["a"], list("bcdef")]
    assert shares("abcdef", even | {"f": 50.0}, 3) == [list("abcde"), ["f"]]
    assert shares("ab", even, 5) == [["a"], ["b"]]
    assert shares("", {}, 0) == []


def test_a_share_exceeds_an_equal_part_by_at_most_one_key():
    seconds = {str(number): float(1 + number * 37 % 11) for number in range(100)}
    for count in (1, 2, 3, 7):
        parts = shares(list(seconds), seconds, count)
        assert [key for part in parts for key in part] == list(seconds)
        longest = max(sum(seconds[key] for key in part) for part in parts)
        assert longest <= sum(seconds.values()) / count + max(seconds.values())


def test_batches_are_contiguous_of_one_job_and_not_too_long():
    order = {"x": list("abcdefgh"), "y": ["i", "j"]}
    wanted = list("abdefhij")
    assert list(batches(wanted, order, most=2)) == [
        ("x", ["a", "b"]),
        ("x", ["d", "e"]),
        ("x", ["f"]),
        ("x", ["h"]),
        ("y", ["i", "j"]),
    ]
    assert list(batches([], order)) == []


def test_a_step_is_added_only_if_it_saves_more_than_its_start_costs():
    card = Card(max_concurrent=4, tags=Tags(float64=LocalTag(max_concurrent=4)))

    def count(seconds):
        runs = [
            RunSpec(
                target="tgt_000000000000",
                sampler=Nuts(),
                posterior=PosteriorSpec(),
                seed=seed,
                dtype="float64",
            )
            for seed in range(len(seconds))
        ]
        ids = [run.id for run in runs]
        return step_count(card, "float64", runs, dict(zip(ids, seconds, strict=True)))

    assert count([]) == 0
    assert count([1.0] * 20) == 1, "a second worker would start for half of its life"
    assert count([1.5] * 20) == 2
    assert count([600.0] * 3) == 3
    assert count([600.0] * 20) == 4
