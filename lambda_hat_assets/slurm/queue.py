"""SLURM's commands about jobs, one function each.

Every function may raise ConnectionError and can then be called again. Answers may also list jobs of
other users, with any name, state and number; rows of an unknown form are skipped.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dagster_slurm.helpers import TERMINAL_STATES

from lambda_hat_assets.slurm.login import Failed, Login

_SUBMITTING = 40
"""Seconds after which the login node ends an sbatch that has not answered, so that it cannot submit
a job long after ssh has failed. This is less than the time limit of `Login.ask`."""

_CUT_OFF = 124
"""The lowest exit code of commands that `timeout` ended or that could not be started."""

_FULL = re.compile(r"(Max|Grp)Submit\w*Limit")
_PASSING = re.compile(
    "unable to contact|timed out|connection|communication|zero bytes|temporarily|standby|"
    "unable to open file|i/o error",
    re.IGNORECASE,
)
"""Failures that do not concern the job itself, as of a busy daemon or a script not visible yet."""

_QUEUED = "queued"
"""Marks jobs that squeue lists, in the column of the exit code."""

_NUMBER = re.compile(r"^(\d+)(?:;\S*)?$", re.MULTILINE | re.ASCII)


class Refused(Exception):
    """SLURM rejects a job, and would reject it again."""


class Full(ConnectionError):
    """SLURM accepts no further jobs until fewer are in the queue."""


class JobState(NamedTuple):
    """The state of a job.

    Attributes:
        name: the name of the state, as in SLURM.
        code: exit code and signal, as sacct prints them.
        words: the last line that SLURM or the job printed.
    """

    name: str
    code: str = ""
    words: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.name in TERMINAL_STATES


def submit(login: Login, options: Sequence[str]) -> int:
    """Submit a job and return its number.

    Args:
        login: the login node.
        options: the options of sbatch, followed by the script.

    Raises:
        Refused: if SLURM rejects the job.
        Full: if the queue is full.
    """
    words = ["timeout", str(_SUBMITTING), "sbatch", "--parsable", *options]
    try:
        answer = login.ask(shlex.join(words))
    except Failed as failed:
        if _FULL.search(failed.stderr):
            raise Full(str(failed)) from failed
        if failed.code < _CUT_OFF and not _PASSING.search(failed.stderr):
            raise Refused(str(failed)) from failed
        raise
    found = _NUMBER.findall(answer)
    if not found:
        raise ConnectionError(f"sbatch succeeded, but named no job: {answer.strip()[:80]!r}")
    return int(found[-1])


def find(login: Login, name: str) -> int | None:
    """Return the number of the job with this name; None if neither queue nor accounting has it."""
    answer = login.ask(
        'squeue -h -u "$(id -un)" -o "%i|%T|%j" && '
        f"sacct -X -n -P --name={name} -S now-7days -o JobIDRaw,State,JobName"
    )
    return max((job for job, _, other in _rows(answer) if other == name), default=None)


def state(login: Login, job: int) -> JobState | None:
    """Return the state of a job, or None if it is uncertain.

    A job that has left the queue has ended only when accounting says how, which may take a while.
    For jobs that have not ended, accounting may be out of date, so only the queue counts.
    """
    queued = f'squeue -h -j {job} -o "%i|%T|{_QUEUED}" 2>/dev/null | grep "^{job}|"'
    answer = login.ask(f"{queued} || sacct -X -n -P -j {job} -o JobIDRaw,State,ExitCode")
    for number, name, code in _rows(answer):
        if number == job and name and (name in TERMINAL_STATES) != (code == _QUEUED):
            return JobState(name, code.removeprefix(_QUEUED))
    return None


def cancel(login: Login, names: Sequence[str], seconds: float = 60.0) -> bool:
    """Cancel the jobs with these names, some of which may have ended, and return True."""
    try:
        login.ask("; ".join(f"scancel --name={name}" for name in names), seconds)
    except Failed as failed:
        if failed.code >= _CUT_OFF or _PASSING.search(failed.stderr):
            raise
    return True


def _rows(answer: str) -> Iterator[tuple[int, str, str]]:
    """Yield job number, first word of the state, and third column of each row with a number."""
    for line in answer.splitlines():
        number, status, third, *_ = [*line.strip().split("|", 2), "", ""]
        if number.isascii() and number.isdigit():
            yield int(number), (status.split() or [""])[0].rstrip("+"), third.strip()
