"""The file in which a payload reports its events."""

import json

import pytest

from lambda_hat_assets.slurm import batch as batches
from lambda_hat_assets.slurm import payload
from lambda_hat_core.store.store import Store

REQUESTS = [{"id": key, "kind": kind} for key in "abc" for kind in ("runs", "analyses")]


@pytest.fixture
def batch(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMBDA_HAT_HOME", str(tmp_path))
    return batches.write(Store(tmp_path), REQUESTS, ["#!/bin/bash"], "this-run")


def line(**event):
    return json.dumps(event).encode() + b"\n"


def test_lines_are_read_when_they_are_complete(batch):
    file = batch.folder / batches.EVENTS
    log, begun = line(event="log", message="a 10%"), line(id="a", event="begun")
    with file.open("ab", buffering=0) as stream:
        assert list(batch.news()) == []
        stream.write(log + log[:9])
        assert list(batch.news()) == ["a 10%"]
        stream.write(log[9:] + begun)
        assert list(batch.news()) == ["a 10%"]
        assert batch.events == [{"id": "a", "event": "begun"}]
        stream.write(b'{"torn": \n\n' + line(event="end"))
        assert list(batch.news()) == []
        assert batch.is_closed
    assert len(batch.events) == 1


def test_bytes_that_a_file_server_does_not_have_yet_are_read_later(batch):
    file = batch.folder / batches.EVENTS
    first, second = line(event="log", message="first"), line(event="log", message="second")
    file.write_bytes(first + b"\0" * len(second) + first)
    assert list(batch.news()) == ["first"]
    file.write_bytes(first + second + first)
    assert list(batch.news()) == ["second", "first"]
    file.unlink()
    assert list(batch.news()) == []


def test_a_payload_that_is_run_again_skips_final_failures(batch, monkeypatch):
    served = []

    def serve(store, request, answer):
        key, kind = json.loads(request).values()
        served.append(key + kind[0])
        answer({"id": key, "event": "log", "message": "at work"})
        if key == "a" or (key, len(served)) == ("b", 2):
            answer(
                {
                    "id": key,
                    "event": "failed",
                    "reason": "no",
                    "cause": "error",
                    "transient": key == "b",
                }
            )
            return False
        answer({"id": key, "event": "done", "record": {"large": 1}})
        return True

    monkeypatch.setattr(payload.worker, "serve", serve)
    payload.main(batch.folder)
    assert served == ["ar", "br", "cr", "ca"], "nothing more of a key after its failure"
    assert list(batch.news()) == ["a at work", "b at work", "c at work", "c at work"]
    assert batch.is_closed
    told = [(event["id"], event["event"]) for event in batch.events]
    ends = [("a", "failed"), ("b", "failed"), ("c", "done"), ("c", "done")]
    assert told == [pair for end in ends for pair in ((end[0], "begun"), end)]
    assert "record" not in batch.events[-1]
    with (batch.folder / batches.EVENTS).open("a") as file:
        file.write('{"id": "b", "ev')
    served.clear()
    payload.main(batch.folder)
    assert served == ["br", "ba", "cr", "ca"]
    list(batch.news())
    assert [(event["id"], event["event"]) for event in batch.events[8:10]] == [
        ("b", "begun"),
        ("b", "done"),
    ]


def test_a_folder_names_the_runs_that_wait_for_its_job(batch):
    store = Store(batch.folder.parents[1])
    batch.begin("another-run")
    (found,) = batches.unfinished(store)
    assert found.keys == batch.keys == set("abc")
    assert (found.name, found.runs()) == (batch.name, ["this-run", "another-run"])
    batch.end()
    assert not list(batches.unfinished(store))
    batch.end()
    assert batches.Batch(batch.folder).keys == set("abc"), "the folder stays for people"
    batch.remove()
    assert not batch.folder.exists()
    batch.end()
