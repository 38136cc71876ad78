"""The output of a step reaches the terminal and its file to the last line."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from lambda_hat_assets.mends import step_logs

PRINTS = """
import os, subprocess, sys
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from lambda_hat_assets.mends import step_logs
step_logs.mend()
with LocalComputeLogManager(sys.argv[1]).capture_logs(["run", "compute_logs", "step"]):
    print("from Python", file=sys.stderr)
    os.write(2, b"x" * int(sys.argv[2]) + b"\\n")
    left = subprocess.Popen(["sleep", "600"])
    print("an answer")
    os.write(2, b"the last line\\n")
os.write(2, b"after\\n")
left.kill()
"""

STOCK = """
import os, signal, sys
# Other tests leave signals blocked in the parent process, and this process inherits that.
signal.pthread_sigmask(signal.SIG_SETMASK, [])
os.environ["PATH"] = sys.argv[1]
from dagster._core.execution.compute_logs import mirror_stream_to_file
with mirror_stream_to_file(sys.stderr, sys.argv[1] + "/step.err"):
    os.write(2, b"the last line\\n")
"""


def run(code, *words, **streams):
    words = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(words, text=True, timeout=120, **streams)


def printed(tmp_path, size, **streams):
    done = run(PRINTS, tmp_path, size, **streams)
    folder = tmp_path / "run" / "compute_logs"
    assert (folder / "step.complete").exists()
    return done, (folder / "step.out").read_text(), (folder / "step.err").read_text()


def test_the_fault_dagster_kills_a_tail_that_has_not_read_the_last_line(tmp_path):
    tail = tmp_path / "tail"
    tail.write_text('#!/bin/sh\n/bin/sleep 2\nexec /usr/bin/tail "$@"\n')
    tail.chmod(0o755)
    assert run(STOCK, tmp_path, capture_output=True).stderr == ""
    assert (tmp_path / "step.err").read_text() == "the last line\n"


@pytest.mark.parametrize("size", [0, 1_000_000])
def test_no_line_is_lost_and_remaining_children_are_not_waited_for(tmp_path, size):
    done, out, err = printed(tmp_path, size, capture_output=True)
    assert err == "from Python\n" + "x" * size + "\nthe last line\n"
    assert done.stderr == err + "after\n"
    assert out == done.stdout == "an answer\n"


def test_a_closed_terminal_affects_neither_the_step_nor_its_file(tmp_path):
    read, write = os.pipe()
    os.close(read)
    _, _, err = printed(tmp_path, 1_000_000, stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    assert err.endswith("the last line\n")


def test_a_capture_leaves_no_file_open(tmp_path, monkeypatch):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    monkeypatch.setattr(step_logs.compute_logs, "execute_posix_tail", step_logs._follow)
    before = open_files(), threading.active_count()
    for i in range(3):
        with LocalComputeLogManager(str(tmp_path)).capture_logs(["run", f"step{i}"]):
            os.write(2, b"line\n")
    assert (open_files(), threading.active_count()) == before
