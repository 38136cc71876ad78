"""What SLURM is told and asked about jobs, a command each.

Every question may fail with ConnectionError, and may then be asked again. Answers also list jobs
that are not ours, which may have any name, state and number: rows of another form are left out.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dagster_slurm.helpers import TERMINAL_STATES

from lambda_hat_assets.slurm.login import Failed, Login

_SUBMITTING = 40
"""Seconds after which the login node ends an sbatch that has no answer yet, so that none is heard
long after its ssh has died. Less than a question may take."""

_CUT_OFF = 124
"""The lowest exit code of commands that `timeout` ended, or that could not be started."""

_FULL = re.compile(r"(Max|Grp)Submit\w*Limit")
_PASSING = re.compile(
    "unable to contact|timed out|connection|communication|zero bytes|temporarily|standby|"
    "unable to open file|i/o error",
    re.IGNORECASE,
)
"""Failures that say nothing of the job: a busy daemon, or a script that is not seen yet."""

_QUEUED = "queued"
"""What stands for an exit code in the rows of jobs that squeue lists."""

_NUMBER = re.compile(r"^(\d+)(?:;\S*)?$", re.MULTILINE | re.ASCII)


class Refused(Exception):
    """SLURM does not take a job, and would not the next time."""


class Full(ConnectionError):
    """SLURM takes no job as long as so many are in the queue."""


class JobState(NamedTuple):
    """How a job stands.

    Attributes:
        name: of the state, as SLURM writes it.
        code: exit code and signal, as sacct writes them.
        words: what SLURM or the job said last.
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
        login: where.
        options: of sbatch, and the script.

    Raises:
        Refused: in SLURM's words.
        Full: likewise.
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
        raise ConnectionError(f"sbatch ended well, but named no job: {answer.strip()[:80]!r}")
    return int(found[-1])


def find(login: Login, name: str) -> int | None:
    """Return the number of the job that has a name, None if nobody knows one of this week."""
    answer = login.ask(
        'squeue -h -u "$(id -un)" -o "%i|%T|%j" && '
        f"sacct -X -n -P --name={name} -S now-7days -o JobIDRaw,State,JobName"
    )
    return max((job for job, _, other in _rows(answer) if other == name), default=None)


def state(login: Login, job: int) -> JobState | None:
    """Return how a job stands, None if nobody knows for certain.

    A job that has left the queue is over only when accounting says how it ended, which may take a
    while; what accounting says of jobs that live may be old.
    """
    queued = f'squeue -h -j {job} -o "%i|%T|{_QUEUED}" 2>/dev/null | grep "^{job}|"'
    answer = login.ask(f"{queued} || sacct -X -n -P -j {job} -o JobIDRaw,State,ExitCode")
    for number, name, code in _rows(answer):
        if number == job and name and (name in TERMINAL_STATES) != (code == _QUEUED):
            return JobState(name, code.removeprefix(_QUEUED))
    return None


def cancel(login: Login, names: Sequence[str], seconds: float = 60.0) -> bool:
    """Cancel the jobs that have some names, and return True; those that are over are no failure."""
    try:
        login.ask("; ".join(f"scancel --name={name}" for name in names), seconds)
    except Failed as failed:
        if failed.code >= _CUT_OFF or _PASSING.search(failed.stderr):
            raise
    return True


def _rows(answer: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, first word of the state, and third column of every row that has a number."""
    for line in answer.splitlines():
        number, status, third, *_ = [*line.strip().split("|", 2), "", ""]
        if number.isascii() and number.isdigit():
            yield int(number), (status.split() or [""])[0].rstrip("+"), third.strip()
