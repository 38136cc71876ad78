"""Which of a job's step processes takes which key: each key is taken once.

The steps of one job run on one machine and share a folder. A key is taken by an advisory lock,
which goes with its process however that ends, and is finished once its file says so.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Claims:
    """The keys of one job that are being worked on, or have been.

    Args:
        job: the id of the job's run.
    """

    def __init__(self, job: str):
        self.folder = Path(tempfile.gettempdir()) / f"lambda_hat-{job}"
        self.folder.mkdir(exist_ok=True)

    def take(self, keys: Sequence[str], busy: Callable[[str], bool]) -> Iterator[str]:
        """Yield keys that nobody else has, one at a time, until none is left.

        Args:
            keys: what there is to do.
            busy: whether another job is at work on a key; such keys come last.
        """
        left = list(keys)
        while left:
            key = next((k for k in left if not busy(k)), left[0])
            left.remove(key)
            with self._claim(key) as mine:
                if mine:
                    yield key

    @contextmanager
    def _claim(self, key: str) -> Iterator[bool]:
        with (self.folder / key).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            file.seek(0)
            if file.read():
                yield False
                return
            yield True
            file.write("done")

    def forget(self) -> None:
        """Remove the folder, at the end of the job."""
        shutil.rmtree(self.folder, ignore_errors=True)


def rotated(keys: Sequence[str], slot: int, slots: int) -> list[str]:
    """Return the keys as the step of a slot takes them: its own share first, then the others'."""
    start = slot * len(keys) // slots
    return [*keys[start:], *keys[:start]]
