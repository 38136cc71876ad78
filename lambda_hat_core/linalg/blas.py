"""How many threads NumPy's linear algebra takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_LOCK = threading.Lock()
_LIMITS: list[threadpool_limits] = []
"""The limit, once for every call in progress: it is that of the whole process."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's and SciPy's linear algebra use one thread meanwhile, as in a worker of a card.

    Between two gradients there are products with some hundred vectors. OpenBLAS divides those among
    all cores, where it meets the threads of XLA, and each of its threads waits actively for the
    others: checkpoints of 1,093 parameters took 1.4 times the CPU seconds and 1.15 times as long on
    two idle cores, and twice as long on busy ones. The last of several calls at once sets again
    what the first one found.
    """
    with _LOCK:
        _LIMITS.append(_LIMITS[0] if _LIMITS else threadpool_limits(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LOCK:
            limit = _LIMITS.pop()
            if not _LIMITS:
                limit.restore_original_limits()
