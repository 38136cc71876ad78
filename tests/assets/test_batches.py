"""How work is cut into batches, and who takes which: no Dagster run is needed to know."""


def test_stretches_are_contiguous_and_each_step_has_its_own_first():
    from lambda_hat_assets.jobs.batches import rotated, shares, stretches

    found = list(stretches(list("abcdefgh"), set("abdefh")))
    assert found == [["a", "b"], ["d", "e", "f"], ["h"]]
    assert list(stretches(list("abc"), set())) == []
    assert rotated(found, 3) == [["e", "f"], ["h"], ["a", "b"], ["d"]]
    outputs = list(shares(found, 2, "x"))
    assert [output.mapping_key for output in outputs] == ["1_of_2", "2_of_2"]
    assert [output.value[0][0] for output in outputs] == ["a", "e"]


def test_steps_are_as_many_as_are_worth_their_start():
    from lambda_hat_assets.card import Card, LocalTag, Tags
    from lambda_hat_assets.jobs.batches import pace, steps
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers import Nuts
    from lambda_hat_core.config.spec import RunSpec

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
        return steps(card, "float64", runs, dict(zip(ids, seconds, strict=True)))

    assert count([]) == 0
    assert count([1.0] * 20) == 1, "a second worker would start for half of its life"
    assert count([1.5] * 20) == 2
    assert count([600.0] * 3) == 3
    assert count([600.0] * 20) == 4
    cut = pace(card, "float64", "2_of_3")
    cut.took(seconds=1.0, keys=1)
    assert cut.size(12) == 2


def test_short_keys_make_large_batches_and_long_ones_go_alone():
    from lambda_hat_assets.jobs.batches import MOST, Pace
    from lambda_hat_core.forecast import START

    pace = Pace(2)
    assert pace.size(1000) == 1, "nothing is known yet"
    pace.took(seconds=START + 3.0, keys=1)
    assert pace.size(1000) == 5
    pace.took(seconds=0.5, keys=5)
    assert pace.size(1000) == MOST
    assert pace.size(8) == 2, "the others find something too"
    pace.took(seconds=900.0, keys=2)
    assert pace.size(1000) == 1


def test_a_key_is_taken_once_and_a_dead_owner_frees_it(tmp_path, monkeypatch):
    import tempfile

    from lambda_hat_assets.claims import Claims

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    work = [["a", "b", "c"], ["d"]]

    def take(busy=(), most=2):
        return Claims("job").take(work, lambda left: most, lambda key: key in busy)

    one, two = take(), take(busy="c")
    assert next(one) == ["a", "b"]
    assert next(two) == ["d"]
    one.close()
    assert list(two) == [["c"]]
    assert list(take()) == [["a", "b"]]
    assert list(take()) == []
    Claims("job").forget()
    assert not list(tmp_path.iterdir())
