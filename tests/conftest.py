"""Fixtures every test may use. Core is imported inside tests, so that its types are checked."""

import atexit
import gc
import os
import signal
from pathlib import Path

# A shell that starts pytest in the background makes it, and all it starts, deaf to this signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Half of a first run is compilation, which most tests are better off with little of. The product
# compiles at XLA's own level, with other last bits.
FLAGS = "--xla_cpu_parallel_codegen_split_count=1 --xla_backend_optimization_level=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import pytest  # noqa: E402

LONG = (
    "as_a_user",
    "peer_cases",
    "vi",
    "vi_families",
    "targets",
    "slurm",
    "slurm_schedules",
    "slurm_ends",
    "llc",
    "pools",
    "figures",
    "command",
    "scale",
)
"""Files of tests that take longest: begun first, so that no process is left with one at the end."""

TOGETHER = ("samplers", "whitened", "resume", "pitfalls", "tuning_replay", "mclmc", "kernels")
"""Files that sample one loss: in one process, which traces its programs once."""


def pytest_xdist_make_scheduler(config, log):
    """Give files to processes, and those above to one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    together = {f"tests/core/test_{name}.py" for name in TOGETHER}

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "together" if file in together else file

    return Scheduling(config, log)


def pytest_sessionfinish(session):
    """Let a process that was given files end soon; what JAX has traced and compiled is large.

    pytest collects garbage five times to hear of exceptions in finalisers: the first time hears of
    them too, and freezing leaves the others nothing to do.
    """
    if hasattr(session.config, "workerinput"):
        gc.collect()
        gc.freeze()
        atexit.register(os._exit, 0)


def pytest_collection_modifyitems(items):
    first = {f"test_{name}.py" for name in LONG + TOGETHER}
    items.sort(key=lambda item: item.path.name not in first)


@pytest.fixture
def x64():
    """Compute in float64 for the length of a test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Compute in each precision in turn; the value is its name."""
    import jax

    with jax.enable_x64(request.param == "float64"):
        yield request.param
