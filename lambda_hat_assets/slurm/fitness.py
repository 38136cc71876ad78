"""Checks, before the first job is submitted, that a cluster has everything that payloads need."""

import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster_slurm import SlurmResource

from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.slurm.login import Failed, Login
from lambda_hat_assets.slurm.resource import home
from lambda_hat_assets.slurm.watch import Watch
from lambda_hat_core.config.base import NUMERICS_VERSION
from lambda_hat_core.config.errors import Place, Problems
from lambda_hat_core.store.store import Store

_COMMANDS = "sbatch squeue sacct scancel timeout"

_VERSION = (
    "import lambda_hat_assets.slurm.payload; "
    "from lambda_hat_core.config.base import NUMERICS_VERSION; print(NUMERICS_VERSION)"
)

_HOPELESS = (
    "Permission denied",
    "Host key verification failed",
    "Name or service not known",
    "Bad configuration option",
    "cannot be started",
)
"""Parts of error messages of ssh that mean that another attempt would fail too."""


def require(
    watch: Watch, login: Login, slurm: SlurmResource, tags: Sequence[SlurmTag], store: Store
) -> None:
    """Check everything that jobs need.

    Raises:
        ConfigError: if requirements are missing, with one line per requirement.
        OSError: if the cluster has not answered for an hour.
    """
    probe = store.root / "slurm" / f".probe-{secrets.token_hex(4)}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    pythons = sorted({tag.python or sys.executable for tag in tags})
    question = _question(home(slurm, store) / "slurm" / probe.name, pythons)
    try:
        answer = watch.insist(lambda: _answer(login, question))
    finally:
        probe.unlink(missing_ok=True)
    problems = Problems()
    for line in answer.splitlines():
        what, _, words = line.partition(": ")
        if problem := _problem(what, words, home(slurm, store)):
            problems.add(problem)
    problems.raise_any()


def _question(probe: Path, pythons: Sequence[str]) -> str:
    lines = [
        f'for c in {_COMMANDS}; do command -v $c >/dev/null || echo "command: $c"; done',
        "command -v sacct >/dev/null && { words=$(sacct -X -n -o JobID -j 1 2>&1) || "
        'echo "sacct: $(echo $words | head -c 200)"; }',
        f"test -f {shlex.quote(str(probe))} || echo 'home: '",
        *(
            f"printf 'python: %s\\t%s\\n' {shlex.quote(python)} "
            f'"$({shlex.quote(python)} -c {shlex.quote(_VERSION)} 2>&1 | tail -n 1)"'
            for python in pythons
        ),
    ]
    return "; ".join(lines)


def _answer(login: Login, question: str) -> str:
    """Return the output of the question on the login node.

    Raises:
        ConfigError: if ssh fails for a reason that another attempt would not change.
        ConnectionError: if ssh fails otherwise, or accounting does not answer at the moment.
    """
    try:
        answer = login.ask(question)
    except ConnectionError as error:
        if isinstance(error, Failed) or not any(words in str(error) for words in _HOPELESS):
            raise
        way_out = "make `ssh` to it work without a password, and with a known host key"
        raise Place("card", "cluster.ssh").error(str(error), way_out) from error
    for line in answer.splitlines():
        if line.startswith("sacct: ") and "disabled" not in line:
            raise ConnectionError(line)
    return answer


def _problem(what: str, words: str, there: Path) -> str | None:
    """Return the error line for one line of the answer, or None if it shows no problem."""
    card = Place("card")
    match what:
        case "command":
            way_out = "put SLURM's commands on the PATH that sshd gives to a plain command"
            return card.key("cluster.ssh").problem(f"the login node has no {words}", way_out)
        case "sacct":
            rule = f"sacct does not work ({words.strip()}), so the end of a job is not known"
            return card.key("cluster").problem(rule, "turn SLURM's accounting on (slurmdbd)")
        case "home":
            rule = "the cluster does not have LAMBDA_HAT_HOME at this path"
            way_out = "put it on a disk that the nodes share, or set its path in cluster.home"
            return card.key("cluster.home").problem(rule, way_out, str(there))
        case "python":
            python, _, version = words.partition("\t")
            if version == str(NUMERICS_VERSION):
                return None
            is_other = version.isdigit()
            rule = f"has numerics version {version}, but this project has {NUMERICS_VERSION}"
            rule = rule if is_other else f"cannot run a payload on the cluster ({version.strip()})"
            way_out = "install this version of the project there, or set another Python"
            return card.key("tags.*.python").problem(rule, way_out, python)
    return None
