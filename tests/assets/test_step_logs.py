"""A step's output: on the terminal and in its file, to the last line."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from lambda_hat_assets.mends.step_logs import copy_every_line

PRINTS = """
import os, subprocess, sys
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from lambda_hat_assets.mends.step_logs import copy_every_line
copy_every_line()
with LocalComputeLogManager(sys.argv[1]).capture_logs(["run", "compute_logs", "step"]):
    print("from Python", file=sys.stderr)
    os.write(2, b"x" * int(sys.argv[2]) + b"\\n")
    left = subprocess.Popen(["sleep", "600"])
    print("an answer")
    os.write(2, b"the last line\\n")
os.write(2, b"after\\n")
left.kill()
"""


def printed(tmp_path, size, **streams):
    words = [sys.executable, "-c", PRINTS, str(tmp_path), str(size)]
    done = subprocess.run(words, text=True, timeout=120, **streams)
    folder = tmp_path / "run" / "compute_logs"
    assert (folder / "step.complete").exists()
    return done, (folder / "step.out").read_text(), (folder / "step.err").read_text()


@pytest.mark.parametrize("size", [0, 1_000_000])
def test_nothing_is_lost_and_a_child_that_stays_is_not_waited_for(tmp_path, size):
    done, out, err = printed(tmp_path, size, capture_output=True)
    assert err == "from Python\n" + "x" * size + "\nthe last line\n"
    assert done.stderr == err + "after\n"
    assert out == done.stdout == "an answer\n"


def test_a_terminal_that_is_gone_stops_neither_the_step_nor_its_file(tmp_path):
    read, write = os.pipe()
    os.close(read)
    _, _, err = printed(tmp_path, 1_000_000, stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    assert err.endswith("the last line\n")


def test_nothing_of_a_capture_stays_open(tmp_path):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    copy_every_line()
    before = open_files(), threading.active_count()
    for i in range(3):
        with LocalComputeLogManager(str(tmp_path)).capture_logs(["run", f"step{i}"]):
            os.write(2, b"line\n")
    assert (open_files(), threading.active_count()) == before


THREADS = """
import os, sys, threading
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from lambda_hat_assets.mends.step_logs import copy_every_line
copy_every_line()
manager, inside, outside = LocalComputeLogManager(sys.argv[1]), threading.Event(), threading.Event()

def second():
    with manager.capture_logs(["run", "second"]):
        inside.set()
        outside.wait()
        os.write(2, b"second\\n")

thread = threading.Thread(target=second)
with manager.capture_logs(["run", "first"]):
    thread.start()
    inside.wait()
    os.write(2, b"first\\n")
outside.set()
thread.join()
os.write(2, b"after\\n")
"""


def test_captures_of_two_threads_leave_the_terminal_as_it_was(tmp_path):
    words = [sys.executable, "-c", THREADS, str(tmp_path)]
    done = subprocess.run(words, text=True, timeout=120, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "first\nsecond\nafter\n")
    assert (tmp_path / "run" / "first.err").read_text() == "first\n"
    assert (tmp_path / "run" / "second.err").exists()
