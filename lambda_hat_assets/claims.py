"""Which of a job's step processes takes which batch of keys: each batch is taken once.

The steps of one job run on one machine and share a folder. A batch is taken by an advisory lock,
which goes with its process however that ends, and is finished once its file says so.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Claims:
    """The batches of one job that are being worked on, or have been.

    Args:
        job: the id of the job's run.
    """

    def __init__(self, job: str):
        self.folder = Path(tempfile.gettempdir()) / f"lambda_hat-{job}"
        self.folder.mkdir(exist_ok=True)

    def take(
        self, batches: Sequence[list[str]], busy: Callable[[str], bool]
    ) -> Iterator[list[str]]:
        """Yield batches that nobody else has, one at a time, until none is left.

        Args:
            batches: what there is to do.
            busy: whether another job is at work on a key; its batch comes last.
        """
        left = list(batches)
        while left:
            batch = next((b for b in left if not any(map(busy, b))), left[0])
            left.remove(batch)
            with self._claim(batch[0]) as mine:
                if mine:
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

    def forget(self) -> None:
        """Remove the folder, at the end of the job."""
        shutil.rmtree(self.folder, ignore_errors=True)
