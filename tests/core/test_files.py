import json
import os
import time

import numpy as np
import pytest

from lambda_hat_core.store import files, process


def test_json_is_strict_for_any_content():
    content = {
        "nan": float("nan"),
        "inf": [-float("inf"), 1.5],
        "numpy": (np.float32(0.5), np.int64(3), np.bool_(True), np.arange(2)),
        "none": None,
        3: "x",
    }
    assert json.loads(files.to_json(content)) == {
        "nan": None,
        "inf": [None, 1.5],
        "numpy": [0.5, 3, True, [0, 1]],
        "none": None,
        "3": "x",
    }
    assert files.to_json(True) == "true"


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    files.write_atomic(path, "old")

    def half(tmp):
        tmp.write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        files.write_atomic(path, half)
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]
    files.write_atomic(path, b"new")
    assert path.read_text() == "new"


def test_sweep_removes_what_dead_processes_left(tmp_path):
    """Of other hosts, and before a reboot, it is not known which are dead."""
    week = time.time() - 8 * 86400
    names = {
        "gone": f".tmp-x-{process.host()}-999999999-ab",
        "gone for long": ".tmp-x-00000000-1-cd",
        "alive": f".tmp-z-{process.host()}-{os.getpid()}-ab",
        "elsewhere": ".tmp-x-00000000-1-ab",
        "foreign": ".tmp-nobody",
        "result": "run_x",
    }
    for kind, name in names.items():
        (tmp_path / name).mkdir()
        if kind in ("gone for long", "alive", "result"):
            os.utime(tmp_path / name, (week, week))
    gone = {tmp_path / names.pop(kind) for kind in ("gone", "gone for long")}
    assert set(files.sweep(tmp_path)) == gone
    assert {path.name for path in tmp_path.iterdir()} == set(names.values())


def test_sealed_json_is_read_as_it_was_written_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    content = {"value": 1.25, "none": None, "words": ["a", "é"]}
    files.write_sealed(path, content)
    assert files.read_sealed(path) == content
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert files.read_sealed(path) in (None, content), place
        path.write_bytes(whole[:place])
        assert files.read_sealed(path) is None
    path.unlink()
    assert files.read_sealed(path) is None
    path.mkdir()
    assert files.read_sealed(path) is None


def test_a_process_is_distinguished_from_a_later_one_with_its_pid():
    mine = process.start_time(os.getpid())
    assert process.alive(os.getpid(), mine) and process.alive(os.getpid())
    assert not process.alive(os.getpid(), "1" if mine else mine + "x")
    assert not process.alive(999999999)
