"""Interrupted commands: no process is left, nothing counts as failed, and they can continue."""

import os
import random
import signal
import time
from typing import NamedTuple

import dagster as dg
import pytest

from lambda_hat_core.store import sql
from lambda_hat_core.work.endings import INTERRUPTED
from tests.faults.site import (
    BIN,
    EXPERIMENT,
    JOB,
    PHASES,
    PLAIN,
    Phase,
    Site,
    end,
    failures,
    in_session,
    wait_for,
)

_GONE = 10.0
"""Seconds within which all processes of a command must end."""

TUNE = (str(BIN / "dagster"), "job", "execute", "-j", "tune")
STUDY = {
    "problems": [{"name": "small", **EXPERIMENT["targets"][0]}],
    "methods": [{"name": "sgld", "overrides": {"n_draws": 2000, "n_burn": 200, "thin": 10}}],
    "posterior": EXPERIMENT["posterior"],
    "objective": {"type": "certificate"},
    "max_trials_per_method": 4,
    "seeds_per_trial": 2,
    "concurrency": {"batch_size": 2},
    "search_space": {"sgld": {"step_fraction": {"dist": "float", "low": 0.1, "high": 1.0}}},
}
"""Two trials at once, of seconds each."""


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
    """Return every signal, to group and leader, for the job, and two for the plain command."""
    rng = random.Random(seed)
    kinds = [(number, group) for number in ("INT", "TERM", "HUP") for group in (True, False)]
    moments = [phase for phase in PHASES if "DuckDB" not in phase.name and phase.name != "planning"]
    cases = [(JOB, *kind) for kind in kinds] + [(PLAIN, "INT", True), (PLAIN, "HUP", False)]
    found = []
    for count, (command, number, group) in enumerate(cases):
        phase = moments[(count + 2 * (command == PLAIN)) % len(moments)]
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
        interrupted(site, process, interrupt.signal, interrupt.is_for_group)
        if interrupt.command == JOB:
            assert statuses(site, monkeypatch) <= {"CANCELED", "SUCCESS"}
        code, said = site.run(interrupt.command)
    finally:
        end(process)
    assert code == 0, said
    assert site.table() == undisturbed
    assert not failures(site) and not site.corrupt()


def interrupted(site, process, number, is_for_group):
    """Send a signal to a command, and check that it says so and that nothing is left of it."""
    send = os.killpg if is_for_group else os.kill
    send(process.pid, number)
    said, _ = process.communicate(timeout=_GONE)
    deadline = time.monotonic() + _GONE
    while (left := in_session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert process.returncode == 128 + number
    assert said.count(INTERRUPTED) == 1, said
    assert "Traceback" not in said and "ERROR" not in said, said
    assert not list(site.store.root.glob("failures/[!_]*"))


def statuses(site, monkeypatch) -> set[str]:
    """Return the final states of the Dagster runs of a site."""
    monkeypatch.chdir(site.root)
    with dg.DagsterInstance.from_config(str(site.root), "dagster.yaml") as instance:
        return {run.status.value for run in instance.get_runs()}


def tuning(root):
    """Return a site whose `tune` conducts one small study."""
    site = Site(root)
    site.write("config/card/local.yaml", {"max_concurrent": 2, "tags": {"float32": {}}})
    site.write("config/tune/demo.yaml", STUDY)
    return site


def trials(site):
    """Return every trial of the study, without times."""
    return sql.query(site.store, "SELECT * EXCLUDE wall_s FROM trials ORDER BY number").rows


def stored(site):
    """Return the trials that Optuna has, as a continued command finds them."""
    from lambda_hat_core.tuning.optimiser import SQLITE, open_study

    (file,) = site.store.root.glob(f"tuning/*/{SQLITE}")
    return open_study(file.parent, file.parent.name, journal=False).get_trials()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The trials of a study that nothing happened to; it also fills JAX's cache."""
    site = tuning(tmp_path_factory.mktemp("tuned"))
    code, said = site.run(TUNE)
    assert code == 0, said
    assert len(trials(site)) == STUDY["max_trials_per_method"]
    return trials(site)


def in_later_trials(site):
    """Return whether the first trial has been told, and two others sample."""
    leases = list(site.store.root.glob("leases/runs/*.lease"))
    return len(leases) == 2 and any(site.store.root.glob("tuning/*/trials.parquet"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_study_keeps_its_trials_and_continues(number, tuned, tmp_path, monkeypatch):
    site = tuning(tmp_path)
    process = site.start(TUNE)
    try:
        wait_for(Phase("later trials", in_later_trials, 0.0), site, process)
        interrupted(site, process, number, is_for_group=number == signal.SIGINT)
        assert statuses(site, monkeypatch) == {"CANCELED"}
        left = stored(site)
        states = [trial.state.name for trial in left]
        assert set(states) == {"COMPLETE", "RUNNING"}, "none failed, none pruned"
        code, said = site.run(TUNE)
    finally:
        end(process)
    assert code == 0, said
    assert trials(site) == tuned
    for trial, state in zip(stored(site), states, strict=False):
        assert trial.params == left[trial.number].params, "repeated with the same parameters"
        assert state == "RUNNING" or f"trial {trial.number}:" not in said, "finished ones are kept"
    assert not site.corrupt()
