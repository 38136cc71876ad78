"""Dagster's databases: two commands at once must not both make them."""

import fcntl
import shutil
import threading

import dagster as dg

from tests.assets.conftest import ROOT


def test_history_is_made_by_one_process_at_a_time(tmp_path, monkeypatch):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".dagster_home"
    folder.mkdir()
    made = threading.Event()

    def make():
        with dg.DagsterInstance.from_config(str(tmp_path), "dagster.yaml") as instance:
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
