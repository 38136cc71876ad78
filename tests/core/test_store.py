import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lambda_hat_core.config.base import Frozen, content_hash
from lambda_hat_core.store.store import Store


class Spec(Frozen):
    x: int = 1

    @property
    def id(self) -> str:
        return f"tgt_{content_hash(self)}"


SPEC = Spec()

WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store import SPEC, Store
with Store({root!r}).publish("targets", SPEC.id, SPEC) as folder:
    (folder / "big.bin").write_bytes(b"x" * 100_000)
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def write(store, spec=SPEC, text="payload"):
    with store.publish("targets", spec.id, spec) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.txt").write_text(text)
        (folder / "data.txt").write_text(text)
    return store.path("targets", spec.id)


def hidden(store):
    return [p.name for p in (store.root / "targets").iterdir() if p.name.startswith(".")]


def test_published_folder_is_complete_and_hashes_to_its_name(store):
    folder = write(store)
    assert store.is_complete("targets", SPEC.id)
    assert store.verify("targets", SPEC.id) is None
    assert (folder / "spec.json").read_text() == '{"x":1}'
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(listed) == {"spec.json", "data.txt", "figures/a.txt"}
    assert store.list("targets") == (SPEC.id,)
    assert hidden(store) == []


def test_absent_folder_is_not_complete(store):
    assert not store.is_complete("targets", SPEC.id)
    assert store.list("targets") == ()
    with pytest.raises(FileNotFoundError, match=r"meta\.json; make tgt_\w+ first"):
        store.read_json("targets", SPEC.id, "meta.json")


def test_the_first_complete_folder_is_kept(store):
    with store.publish("targets", SPEC.id, SPEC) as folder:
        write(store, text="first")
        (folder / "data.txt").write_text("second")
    assert (store.path("targets", SPEC.id) / "data.txt").read_text() == "first"
    assert hidden(store) == []


def test_a_new_gallery_replaces_the_old_one(store):
    for text in ("old", "new"):
        with store.publish("galleries", "exp") as folder:
            (folder / "index.html").write_text(text)
    assert (store.path("galleries", "exp") / "index.html").read_text() == "new"
    assert store.is_complete("galleries", "exp")


@pytest.mark.parametrize("part", ["data.txt", "figures/a.txt", "spec.json", "manifest.json"])
def test_a_corrupt_byte_is_detected_and_the_folder_rebuilt(store, part):
    path = write(store) / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not store.is_complete("targets", SPEC.id)
    assert store.verify("targets", SPEC.id)
    write(store, text="rebuilt")
    assert store.verify("targets", SPEC.id) is None
    assert hidden(store) == []


def test_verify_finds_corruption_that_keeps_size_and_time(store):
    path = write(store) / "data.txt"
    stat = path.stat()
    path.write_text("PAYLOAD")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.is_complete("targets", SPEC.id)
    assert "data.txt" in (store.verify("targets", SPEC.id) or "")


@pytest.mark.parametrize("part", ["data.txt", "spec.json", "manifest.json"])
def test_missing_or_truncated_file_is_named(store, part):
    path = write(store) / part
    path.unlink()
    assert store.problem("targets", SPEC.id) == f"{part} is missing"
    path.write_text("")
    assert store.problem("targets", SPEC.id)


@pytest.mark.parametrize("part", ["data.txt", "spec.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["folder", "dangling", "loop"])
def test_what_cannot_be_read_is_made_again(store, part, damage):
    path = write(store) / part
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if damage == "loop" else "nowhere")
    assert part in (store.problem("targets", SPEC.id) or "")
    assert part in (store.verify("targets", SPEC.id) or "")
    write(store)
    assert store.verify("targets", SPEC.id) is None and hidden(store) == []


@pytest.mark.parametrize("content", ["", "{}", "[]", "[" * 10_000, "null", '{"sha256": 1}'])
def test_a_manifest_that_is_none_counts_as_incomplete(store, content):
    (write(store) / "manifest.json").write_text(content)
    assert "manifest.json" in (store.problem("targets", SPEC.id) or "")


def test_copied_folder_is_complete_although_its_times_changed(store, tmp_path):
    folder = write(store)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    assert store.is_complete("targets", SPEC.id)


def test_folder_under_another_name_is_not_complete(store):
    other = f"tgt_{'0' * 12}"
    os.rename(write(store), store.path("targets", other))
    assert "hash" in (store.problem("targets", other) or "")
    with (
        pytest.raises(ValueError, match="is not the id of the spec"),
        store.publish("targets", other, SPEC),
    ):
        pass


def test_an_exception_leaves_no_folder(store):
    with pytest.raises(RuntimeError, match="boom"), store.publish("targets", SPEC.id, SPEC):
        raise RuntimeError("boom")
    assert store.list("targets") == () and hidden(store) == []


def test_a_killed_writer_leaves_no_folder_and_its_files_are_swept(store):
    script = WRITER.format(tests=str(Path(__file__).parent), root=str(store.root))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "half\n"
    left = hidden(store)
    assert len(left) == 1 and not store.is_complete("targets", SPEC.id)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    elsewhere = store.root / "targets" / ".tmp-tgt_x-0123abcd-1-0123abcd"
    elsewhere.mkdir()
    store.sweep()
    assert hidden(store) == [elsewhere.name], "that process may be alive"
    old = time.time() - 8 * 86400
    os.utime(elsewhere, (old, old))
    write(store)
    assert hidden(store) == []


def test_temporary_files_of_a_running_writer_are_kept(store):
    with store.publish("targets", SPEC.id, SPEC) as folder:
        os.utime(folder, (0, 0))
        write(store, Spec(x=2))
        assert folder.exists()
        (folder / "data.txt").write_text("still here")
    assert store.verify("targets", SPEC.id) is None


def test_a_full_disk_gives_one_line_and_keeps_nothing(store):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with (
            pytest.raises(
                OSError, match=r"no space left under .*nothing of tgt_.* was kept"
            ) as info,
            store.publish("targets", SPEC.id, SPEC) as folder,
        ):
            (folder / "big.bin").write_bytes(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert info.value.errno == errno.EFBIG
    assert "\n" not in str(info.value)
    assert store.list("targets") == () and hidden(store) == []
    write(store)
    assert store.is_complete("targets", SPEC.id)


def test_a_folder_deleted_during_a_run_is_named(store):
    import shutil

    with (
        pytest.raises(FileNotFoundError, match=r"was deleted while tgt_.* was being written"),
        store.publish("targets", SPEC.id, SPEC) as folder,
    ):
        shutil.rmtree(store.root)
        (folder / "data.txt").write_text("x")
    write(store)
    assert store.is_complete("targets", SPEC.id)


def test_a_home_that_is_a_file_is_rejected_in_one_line(tmp_path):
    home = tmp_path / "home"
    home.write_text("")
    with pytest.raises(PermissionError, match=r"home .*set LAMBDA_HAT_HOME") as info:
        write(Store(home))
    assert "\n" not in str(info.value)


def test_an_unwritable_home_is_rejected_in_one_line(tmp_path):
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import Store, write
home = {str(tmp_path)!r} + "/readonly"
os.mkdir(home); os.chmod(home, 0o555); os.chdir(home)
store = Store("unused"); store.root = type(store.root)(".")
write(Store({str(tmp_path)!r} + '/warm'))
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    write(store)
except PermissionError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "set LAMBDA_HAT_HOME" in out.stdout and out.stdout.count("\n") == 1, out.stderr


def test_concurrent_writers_leave_one_complete_folder(store):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import SPEC, Store, write
store = Store({str(store.root)!r})
sys.stdin.readline()
for _ in range(30):
    folder = write(store, text=sys.argv[1])
    if sys.argv[1] == "tears":
        (folder / "manifest.json").write_text("torn")
write(store, text=sys.argv[1])
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, name], stdin=subprocess.PIPE, text=True)
        for name in ("tears", "writes")
    ]
    for child in children:
        child.communicate("go\n", timeout=60)
    assert [child.returncode for child in children] == [0, 0]
    assert store.verify("targets", SPEC.id) is None
    assert hidden(store) == []
