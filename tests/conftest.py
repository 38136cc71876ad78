"""Fixtures for all tests. The core is imported inside tests, so that its types are checked."""

import atexit
import gc
import itertools
import os
import signal
import sys
from pathlib import Path

# If a shell starts pytest in the background, pytest and its children would ignore this signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# JAX writes an entry of its cache in place, and a process that reads it meanwhile finds half of it.
# So every process of pytest-xdist has a cache of its own, beside that of the process that began it.
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "jax" / "alone"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
if "PYTEST_XDIST_WORKER" in os.environ:
    _beside = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).with_name(
        os.environ["PYTEST_XDIST_WORKER"]
    )
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_beside)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Half of a first run is compilation, so tests compile with little optimisation. Users' programs are
# compiled at XLA's default level, which gives different last bits.
FLAGS = "--xla_cpu_parallel_codegen_split_count=1 --xla_backend_optimization_level=1"
os.environ.setdefault("XLA_FLAGS", FLAGS)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# As in workers and in `estimate_llc`.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest  # noqa: E402

LONG = (
    "doors",
    "as_a_user",
    "learning",
    "pages",
    "pasted",
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
"""The files that take longest. They are started first, so that none of them runs alone at the
end."""

TOGETHER = {
    "mixed": ("samplers", "whitened", "resume", "pitfalls", "tuning_replay", "mclmc", "kernels"),
    "observed": ("observables", "observables_names", "observables_sums"),
}
"""Files that sample the same loss, by the module that has it. They run in one process, which traces
and compiles its programs once."""


def pytest_xdist_make_scheduler(config, log):
    """Distribute tests by file, and put each group of TOGETHER into one process."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    together = {
        f"tests/core/test_{name}.py": group for group, names in TOGETHER.items() for name in names
    }

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return together.get(file, file)

    return Scheduling(config, log)


def pytest_sessionfinish(session):
    """End a worker process of pytest-xdist quickly, since JAX has left many objects in memory.

    At the end pytest collects garbage five times to find exceptions in finalisers. One collection
    finds all of them, and after `gc.freeze` the others have nothing to do.
    """
    if hasattr(session.config, "workerinput"):
        gc.collect()
        gc.freeze()
        atexit.register(os._exit, 0)


def pytest_collection_modifyitems(items):
    first = {f"test_{name}.py" for name in itertools.chain(LONG, *TOGETHER.values())}
    items.sort(key=lambda item: item.path.name not in first)


@pytest.fixture
def x64():
    """Compute in float64 during a test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run a test in each precision; the value is the name of the dtype."""
    import jax

    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs before a file of tests if this process holds very many.

    A process of the whole suite compiles more programs than the system lets it hold.
    """
    if "lambda_hat_core.programs" in sys.modules:
        sys.modules["lambda_hat_core.programs"].forget_if_many()
