"""Failures of the machine are retried with growing pauses; failures of numbers are not."""

import pytest

from lambda_hat_core.work.retries import PAUSES, insist

LINE = {"id": "run_x"}


class Scripted:
    """A client whose requests end as a script prescribes."""

    def __init__(self, *ends):
        self.ends = list(ends)

    def run(self, requests):
        (line,) = requests
        yield {"id": line["id"], "event": "log", "message": "at work"}
        yield {"id": line["id"], **self.ends.pop(0)}


DONE = {"event": "done"}


def failed(cause, transient):
    return {"event": "failed", "cause": cause, "transient": transient, "reason": f"{cause}!"}


AWAY, DIED, NAN = failed("error", True), failed("died", True), failed("error", False)


@pytest.mark.parametrize(
    ("ends", "last", "pauses"),
    [
        ([DONE], DONE, []),
        ([AWAY, AWAY, DONE], DONE, list(PAUSES)),
        ([AWAY, AWAY, AWAY], AWAY, list(PAUSES)),
        ([DIED, DONE], DONE, [PAUSES[0]]),
        ([DIED, DIED], DIED, [PAUSES[0]]),
        ([NAN], NAN, []),
        ([AWAY, NAN], NAN, [PAUSES[0]]),
    ],
    ids=["well", "passes", "stays", "dies once", "dies twice", "number", "then number"],
)
def test_failures_of_the_machine_are_retried_after_pauses(ends, last, pauses):
    slept = []
    client = Scripted(*ends)
    events = list(insist(lambda: client.run([LINE]), sleep=slept.append))
    assert slept == pauses and pauses == sorted(pauses)
    assert events[-1] == {"id": "run_x", **last}
    assert [event["event"] for event in events[:-1]].count("failed") == 0
    said = [event["message"] for event in events if event["event"] == "log"]
    assert sum("tried again in" in line for line in said) == len(pauses)
    assert not client.ends


def test_nothing_is_retried_if_the_answer_is_not_needed():
    client = Scripted(DIED, DONE)
    asleep = []
    events = list(
        insist(lambda: client.run([LINE]), give_up=lambda: bool(asleep), sleep=asleep.append)
    )
    assert events[-1]["event"] == "failed" and client.ends == [DONE]
