"""The outcome of a job's keys: failed attempts, retries, and reasons."""

from collections import Counter

import pytest

from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.compute.orders import Order
from lambda_hat_assets.slurm.fate import fates, why
from lambda_hat_assets.slurm.queue import JobState

TAG = SlurmTag(executor="slurm", walltime="01:00:00", memory="2G")
NUMERIC = {"event": "failed", "reason": "not finite", "transient": False}
DISK = {"event": "failed", "reason": "disk full", "transient": True}


class Empty:
    """An empty store."""

    def is_complete(self, kind, id):
        return False


def end(state, events, charges=None, keys="abc"):
    """Return, by key, whether it is tried again and why it failed."""
    orders = [Order(key, ("runs", "analyses"), None, None) for key in keys]
    charges = Counter() if charges is None else charges
    found = fates(Empty(), orders, events, "the reason", state, charges)
    return {
        key: "again" if fate.again else fate.results[-1].failure
        for key, fate in zip(keys, found, strict=True)
    }, charges


def begun(*keys):
    return [{"id": key, "event": "begun"} for key in keys]


def test_a_failed_attempt_counts_only_for_the_key_that_was_being_computed():
    found, charges = end("TIMEOUT", begun("a"))
    assert found == {"a": "again", "b": "again", "c": "again"}
    found, charges = end("TIMEOUT", begun("a"), charges)
    assert found == {"a": "the reason", "b": "again", "c": "again"}
    assert charges == {"a": 2}


def test_a_job_that_never_began_counts_as_a_failed_attempt_of_every_key():
    _, charges = end("NODE_FAIL", [])
    found, _ = end("NODE_FAIL", [], charges)
    assert set(found.values()) == {"the reason"}


@pytest.mark.parametrize(
    ("failure", "first", "second"),
    [(NUMERIC, "not finite", "not finite"), (DISK, "again", "disk full")],
)
def test_numeric_failures_are_final_and_failures_of_a_machine_are_not(failure, first, second):
    events = [*begun("a"), {"id": "a", **failure}]
    found, charges = end("COMPLETED", events, keys="a")
    assert found == {"a": first}
    assert end("COMPLETED", events, charges, keys="a")[0] == {"a": second}


@pytest.mark.parametrize(
    ("state", "rest"),
    [("OUT_OF_MEMORY", "again"), ("CANCELLED", "the reason"), ("REFUSED", "the reason")],
)
def test_an_end_that_another_attempt_would_repeat_is_final(state, rest):
    found, _ = end(state, begun("a") if state != "REFUSED" else [])
    assert found == {"a": "the reason", "b": rest, "c": rest}


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("TIMEOUT", "0:0", "walltime of 01:00:00; raise walltime in the card, or by --set float64"),
        ("OUT_OF_MEMORY", "0:125", "ran out of memory (2G); raise memory in the card"),
        ("FAILED", "0:9", "killed by signal 9, perhaps out of memory"),
        ("FAILED", "3:0", "exited with code 3 (last words)"),
        ("CANCELLED", "0:0", "was cancelled on the cluster"),
        ("COMPLETED", "0:0", "neither reported this key nor stored its artifacts"),
        ("NODE_FAIL", "0:0", "ended as NODE_FAIL"),
        ("REFUSED", "", "no job was submitted (last words); its options were --time=01:00:00"),
    ],
)
def test_every_end_of_a_job_is_described_in_one_line(state, code, words):
    line = why(7, JobState(state, code, "last words"), "float64", TAG)
    assert words in line
    assert "\n" not in line
