"""Dagster's databases, which two commands must not create at the same time."""

import fcntl
import subprocess
import sys
import threading

import dagster as dg
import pytest
from alembic.runtime.migration import HeadMaintainer
from dagster._core.storage import sql
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

OTHER = """
import sys
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
DagsterSqliteStorage(sys.argv[1]).dispose()
"""


def test_the_history_is_created_by_one_process_at_a_time(place):
    folder = place / ".dagster_home"
    folder.mkdir()
    made = threading.Event()

    def make():
        with dg.DagsterInstance.from_config(str(place), "dagster.yaml") as instance:
            assert instance.get_runs() == []
            made.set()

    with (folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=make)
        thread.start()
        assert not made.wait(1)
        assert not (folder / "history").exists()
    assert made.wait(60)
    thread.join()
    assert (folder / "history" / "runs").is_dir()


def test_the_fault_two_processes_at_once_create_an_unusable_history(tmp_path, monkeypatch):
    """The other process creates everything after this one has read that no version is recorded."""
    note, others = HeadMaintainer.update_to_step, iter([[sys.executable, "-c", OTHER, tmp_path]])

    def late(maintainer, step):
        for other in others:
            subprocess.run(other, check=True, timeout=120)
        note(maintainer, step)

    with monkeypatch.context() as change:
        change.setattr(HeadMaintainer, "update_to_step", late)
        DagsterSqliteStorage(str(tmp_path)).dispose()
    with pytest.raises(Exception, match="more than one head"):
        DagsterSqliteStorage(str(tmp_path))


class Killed(Exception):
    pass


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_history_whose_creator_was_killed_is_created_by_the_next_command(
    place, monkeypatch, calls
):
    left = iter(range(calls))

    def deadly(*args, **options):
        if next(left) == calls - 1:
            raise Killed
        sql.stamp_alembic_rev(*args, **options)

    with monkeypatch.context() as change:
        for module in (sqlite_run_storage, sqlite_event_log, sqlite_schedule_storage):
            change.setattr(module, "stamp_alembic_rev", deadly)
        with pytest.raises(Killed):
            dg.DagsterInstance.from_config(str(place), "dagster.yaml")
    with dg.DagsterInstance.from_config(str(place), "dagster.yaml") as instance:
        assert instance.get_runs() == []
        instance.event_log_storage.set_concurrency_slots("pool", 1)
        assert [pool.name for pool in instance.event_log_storage.get_pool_limits()] == ["pool"]
