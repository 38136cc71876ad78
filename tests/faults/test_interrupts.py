"""Interrupted commands: no process is left, nothing counts as failed, and they can continue."""

import os
import random
import signal
import time
from typing import NamedTuple

import dagster as dg
import pytest

from lambda_hat_core.work.endings import INTERRUPTED
from tests.faults.site import JOB, PHASES, PLAIN, Phase, end, failures, in_session, wait_for

_GONE = 10.0
"""Seconds within which all processes of a command must end."""


class Interrupt(NamedTuple):
    """A signal to a command or to its whole process group, some time after a sign."""

    command: tuple[str, ...]
    signal: signal.Signals
    is_for_group: bool
    phase: Phase
    delay: float

    def __str__(self) -> str:
        to = "group" if self.is_for_group else "leader"
        name = "job" if self.command == JOB else "plain"
        return f"{name}-{self.signal.name}-{to}-{self.phase.name}"


def interrupts(seed: int) -> list[Interrupt]:
    """Return every signal, to group and leader, for both commands, at random moments."""
    rng = random.Random(seed)
    kinds = [(number, group) for number in ("INT", "TERM", "HUP") for group in (True, False)]
    moments = [phase for phase in PHASES if "DuckDB" not in phase.name and phase.name != "planning"]
    found = []
    for count, (number, group) in enumerate(kinds * 2):
        phase = moments[count % len(moments)]
        command = PLAIN if count in (0, 3, 8, 11) else JOB
        kind = signal.Signals[f"SIG{number}"]
        found.append(Interrupt(command, kind, group, phase, rng.uniform(0, phase.span)))
    return found


@pytest.mark.parametrize("interrupt", interrupts(seed=6), ids=str)
def test_interrupted_command_leaves_nothing_and_continues(
    interrupt, site, undisturbed, monkeypatch
):
    process = site.start(interrupt.command)
    try:
        wait_for(interrupt.phase, site, process)
        time.sleep(interrupt.delay)
        send = os.killpg if interrupt.is_for_group else os.kill
        send(process.pid, interrupt.signal)
        said, _ = process.communicate(timeout=_GONE)
        deadline = time.monotonic() + _GONE
        while (left := in_session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        assert process.returncode == 128 + interrupt.signal
        assert said.count(INTERRUPTED) == 1, said
        assert "Traceback" not in said and "ERROR" not in said, said
        assert not list(site.store.root.glob("failures/[!_]*"))
        if interrupt.command == JOB:
            assert statuses(site, monkeypatch) <= {"CANCELED", "SUCCESS"}
        code, said = site.run(interrupt.command)
    finally:
        end(process)
    assert code == 0, said
    assert site.table() == undisturbed
    assert not failures(site) and not site.corrupt()


def statuses(site, monkeypatch) -> set[str]:
    """Return the final states of the Dagster runs of a site."""
    monkeypatch.chdir(site.root)
    with dg.DagsterInstance.from_config(str(site.root), "dagster.yaml") as instance:
        return {run.status.value for run in instance.get_runs()}
