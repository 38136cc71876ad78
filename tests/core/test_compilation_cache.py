"""Compiled programs outlive the process, by default in the user's cache folder."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("error")
import jax
from lambda_hat_core.work.compilation import kept

seen = []
jax.monitoring.register_event_listener(lambda name, **facts: seen.append(name.split("/")[-1]))
jax.jit(lambda x: x + 1)(1.0)
before = {name: getattr(jax.config, name) for name in sys.argv[1:]}
with kept():
    jax.jit(lambda x: x * 2)(1.0)
    within = jax.config.jax_compilation_cache_dir
hits, stored = seen.count("cache_hits"), seen.count("cache_misses")
jax.jit(lambda x: x * 3)(1.0)
same = before == {name: getattr(jax.config, name) for name in before}
after = (seen.count("cache_hits"), seen.count("cache_misses")) == (hits, stored)
print(json.dumps([within, hits, stored, same and after]))
"""
NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def run(**environment):
    """Return the output of the script in an environment with no settings of JAX but these."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *NAMES],
        env=bare | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_second_process_uses_the_programs_of_the_first(tmp_path):
    from lambda_hat_core.store.process import processor

    folder = tmp_path / "lambda_hat" / "jax" / processor()
    assert run(XDG_CACHE_HOME=str(tmp_path)) == [str(folder), 0, 1, True]
    assert any(folder.iterdir())
    assert run(XDG_CACHE_HOME=str(tmp_path)) == [str(folder), 1, 0, True]


def test_a_cache_that_the_user_has_set_is_used(tmp_path):
    mine = str(tmp_path / "mine")
    within, *_ = run(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=mine)
    assert within == mine
    assert not (tmp_path / "lambda_hat").exists()


@pytest.mark.parametrize("name", ["off", "unusable"])
def test_caching_can_be_off_or_impossible(tmp_path, name):
    (tmp_path / "file").touch()
    off, unusable = (
        {"JAX_ENABLE_COMPILATION_CACHE": "0"},
        {"XDG_CACHE_HOME": str(tmp_path / "file")},
    )
    within, hits, stored, same = run(**{"XDG_CACHE_HOME": str(tmp_path)} | locals()[name])
    assert (within, hits, stored, same) == (None, 0, 0, True)


@pytest.mark.parametrize("damage", ["half", "flipped", "empty", "folder"])
def test_a_program_that_a_killed_process_left_half_written_is_made_again(tmp_path, damage):
    """JAX warns of it, which is an error here, and never replaces it."""
    from lambda_hat_core.store import compiled
    from lambda_hat_core.store.process import processor

    folder = tmp_path / "lambda_hat" / "jax" / processor()
    run(XDG_CACHE_HOME=str(tmp_path))
    (entry,) = folder.glob("*-cache")
    whole = entry.read_bytes()
    entry.unlink()
    flipped = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1])
    if damage == "folder":
        entry.mkdir()
    else:
        left = {"half": whole[:-1], "empty": b"", "flipped": flipped + whole[len(flipped) :]}
        entry.write_bytes(left[damage])
    assert compiled.partial([entry]) == [entry]
    assert run(XDG_CACHE_HOME=str(tmp_path))[1:3] == [0, 1], "compiled, and stored again"
    assert compiled.partial([entry]) == []
    assert run(XDG_CACHE_HOME=str(tmp_path))[1:3] == [1, 0]


def test_each_program_is_read_once(tmp_path, monkeypatch):
    import zlib

    from lambda_hat_core.store import compiled

    read = []
    whole = compiled._is_whole
    monkeypatch.setattr(compiled, "_is_whole", lambda path: read.append(path) or whole(path))
    for name in ("a", "b"):
        path = tmp_path / f"jit_{name}-cache"
        path.write_bytes(zlib.compress(b"program"))
        os.utime(path, (1e9, 1e9))
    compiled.tidy(tmp_path)
    assert len(read) == 2
    compiled.tidy(tmp_path)
    assert len(read) == 2 and len(list(tmp_path.glob("*-cache"))) == 2
