"""Which of a job's step processes takes which keys: each key is taken once.

The steps of one job run on one machine and share a folder. A key is taken by an advisory lock,
which goes with its process however that ends, and is finished once its file says so.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Claims:
    """The keys of one job that are being worked on, or have been.

    Args:
        job: the id of the job's run.
    """

    def __init__(self, job: str):
        self.folder = Path(tempfile.gettempdir()) / f"lambda_hat-{job}"
        self.folder.mkdir(exist_ok=True)

    def take(
        self,
        stretches: Sequence[list[str]],
        size: Callable[[int], int],
        busy: Callable[[str], bool],
    ) -> Iterator[list[str]]:
        """Yield batches of keys that nobody else has, one at a time, until none is left.

        Args:
            stretches: contiguous keys; a batch is a part of one.
            size: most keys of the next batch, given how many nobody is known to have taken.
            busy: whether another job is at work on a key; such keys come last.
        """
        left = [list(keys) for keys in stretches if keys]
        while left:
            keys = next((keys for keys in left if not busy(keys[0])), left[0])
            most = size(sum(map(len, left)))
            with ExitStack() as claims:
                batch: list[str] = []
                while keys and len(batch) < most and not (batch and busy(keys[0])):
                    mine = claims.enter_context(self._claim(keys[0]))
                    key = keys.pop(0)
                    if not mine:
                        break
                    batch.append(key)
                if not keys:
                    left.remove(keys)
                if batch:
                    yield batch

    @contextmanager
    def _claim(self, name: str) -> Iterator[bool]:
        with (self.folder / name).open("a+") as file:
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

    def is_finished(self, key: str) -> bool:
        """Whether this job has come to the end of a key, made or failed."""
        file = self.folder / key
        return file.exists() and bool(file.read_text())

    def forget(self) -> None:
        """Remove the folder, at the end of the job."""
        shutil.rmtree(self.folder, ignore_errors=True)
