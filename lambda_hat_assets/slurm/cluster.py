"""What is asked of a cluster over ssh: whether it is fit, which jobs live, how one ended."""

import getpass
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_assets.slurm.card import Cluster, SlurmTag, Ssh
from lambda_hat_core.config.base import NUMERICS_VERSION
from lambda_hat_core.plan.errors import Place, Problems
from lambda_hat_core.store import Store

_SECONDS = 60
"""Longest time that a question may take."""

_VERSION = (
    "import dagster_pipes, lambda_hat_core.worker; "
    "from lambda_hat_core.config.base import NUMERICS_VERSION; print(NUMERICS_VERSION)"
)


class End(NamedTuple):
    """How a job stands: its state as sacct writes it, exit code and signal."""

    state: str
    code: str

    @property
    def is_alive(self) -> bool:
        """Whether it is queued, runs, or is about to end."""
        return self.state in _ALIVE


_ALIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "STAGE_OUT",
    "RESIZING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "REQUEUE_FED",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
)


class Login:
    """The login node, by one shared ssh connection.

    Args:
        cluster: how it is reached.
    """

    def __init__(self, cluster: Cluster):
        self.resource = _resource(cluster.ssh)

    def ask(self, command: str) -> str:
        """Return what a shell command prints.

        Raises:
            ConnectionError: in one line, if it cannot be run or fails.
        """
        from dagster_slurm.helpers.ssh_pool import SSHConnectionPool

        try:
            pool = SSHConnectionPool(self.resource)
            pool.reporter = _ignore
            with pool:
                return pool.run(command, timeout=_SECONDS)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            at = f"{self.resource.user}@{self.resource.host}:{self.resource.port}"
            raise ConnectionError(f"{at}: {gist(error)}") from error

    def living(self, prefix: str) -> dict[str, int]:
        """Return the jobs in the queue whose name begins with `prefix`, by name."""
        lines = self.ask('squeue -h -u "$(id -un)" -o "%i %j"').splitlines()
        jobs = (line.split(None, 1) for line in lines)
        return {name: int(job) for job, name in jobs if name.startswith(prefix)}

    def end(self, job: int) -> End:
        """Return how a job stands."""
        row = self.ask(
            f"squeue -h -j {job} -o '%T|' 2>/dev/null | grep . || "
            f"sacct -X -n -P -j {job} -o State,ExitCode"
        )
        state, _, code = (row.splitlines() or ["UNKNOWN|"])[0].partition("|")
        return End(state.split()[0].rstrip("+"), code.strip())


def require(login: Login, cluster: Cluster, tags: Sequence[SlurmTag], store: Store) -> None:
    """Look at everything that jobs will need, before any is submitted.

    Raises:
        ConfigError: one line for each thing that is missing, with the way out.
    """
    if any(letter.isspace() for letter in str(home(cluster, store))):
        raise Place("card", "cluster.home").error(
            "holds a blank, which would end it in a job's script",
            "keep LAMBDA_HAT_HOME in a folder without blanks",
            str(home(cluster, store)),
        )
    probe = store.root / "slurm" / f".probe-{secrets.token_hex(4)}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    pythons = sorted({tag.python or sys.executable for tag in tags})
    try:
        answer = login.ask(_questions(home(cluster, store) / "slurm" / probe.name, pythons))
    except ConnectionError as error:
        way_out = "see that `ssh` to it works without a password, and that its host key is known"
        raise Place("card", "cluster.ssh").error(str(error), way_out) from error
    finally:
        probe.unlink(missing_ok=True)
    problems = Problems()
    for line in answer.splitlines():
        what, _, words = line.partition(": ")
        if problem := _problem(what, words, cluster, store):
            problems.add(problem)
    problems.raise_any()


def home(cluster: Cluster, store: Store) -> Path:
    """Return the store's folder as the cluster sees it."""
    return Path(cluster.home or store.root)


def _questions(probe: Path, pythons: Sequence[str]) -> str:
    lines = [
        "for c in sbatch squeue sacct scancel; do "
        'command -v $c >/dev/null || echo "command: $c"; done',
        "command -v sacct >/dev/null && { words=$(sacct -X -n -o JobID -j 1 2>&1) || "
        'echo "sacct: $(echo $words | head -c 200)"; }',
        f"test -f {shlex.quote(str(probe))} || echo 'home: '",
        *(
            f"echo python: {shlex.quote(python)} "
            f"$({shlex.quote(python)} -c {shlex.quote(_VERSION)} 2>&1 | tail -n 1)"
            for python in pythons
        ),
    ]
    return "\n".join(lines)


def _problem(what: str, words: str, cluster: Cluster, store: Store) -> str | None:
    """Return what is wrong, None if nothing."""
    card = Place("card")
    match what:
        case "command":
            way_out = "put SLURM's commands on the PATH that sshd gives to a plain command"
            return card.key("cluster.ssh").problem(f"the login node has no {words}", way_out)
        case "sacct":
            rule = f"sacct does not work ({words.strip()}), so nobody could tell how a job ended"
            return card.key("cluster").problem(rule, "turn SLURM's accounting on (slurmdbd)")
        case "home":
            rule = "the cluster does not see LAMBDA_HAT_HOME there"
            way_out = "put it on a disk that the nodes share, or name its path in cluster.home"
            return card.key("cluster.home").problem(rule, way_out, str(home(cluster, store)))
        case "python":
            python, _, version = words.partition(" ")
            if version == str(NUMERICS_VERSION):
                return None
            is_other = version.isdigit()
            rule = f"computes with numerics version {version}, this project with {NUMERICS_VERSION}"
            rule = rule if is_other else f"cannot run a payload on the cluster ({version.strip()})"
            way_out = "install this version of the project there, or name another in tags.*.python"
            return card.key("tags.*.python").problem(rule, way_out, python)
    return None


def _resource(ssh: Ssh) -> Any:
    from dagster_slurm import SSHConnectionResource

    fields = {
        "host": ssh.host,
        "port": ssh.port,
        "user": ssh.user or getpass.getuser(),
        "key_path": ssh.key,
        "known_hosts_file": ssh.known_hosts,
        "jump_host": ssh.jump and _resource(ssh.jump),
    }
    try:
        return SSHConnectionResource(**fields)
    except ValueError as error:
        raise Place("card", "cluster.ssh").error(
            str(error).splitlines()[-2 if len(str(error).splitlines()) > 1 else 0].strip(),
            "name a key file that exists, or none",
        ) from error


def _ignore(level: str, message: str) -> None:
    """Say nothing of how connections are shared."""


def gist(error: BaseException) -> str:
    """Return the last words of a failed command."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = [line.removeprefix("stderr:").strip() for line in lines if "stderr:" in line]
    return next((word for word in words if word), lines[0] if lines else type(error).__name__)
