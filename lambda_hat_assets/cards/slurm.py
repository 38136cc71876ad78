"""The parts of a card about SLURM: the jobs of each dtype, and the connection to the cluster.

The requirements of a job become dagster-slurm's queue configuration, except the type of its GPUs,
constraints and further options, for which the configuration has no fields.
"""

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lambda_hat_assets.cards.environment import check, check_host, one_process
from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.samplers.base import Dtype

if TYPE_CHECKING:
    from dagster_slurm import SlurmQueueConfig

_WALLTIME = r"^(\d+-\d{1,2}(:\d{2}){0,2}|\d+(:\d{2}){0,2})$"
_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=.+)?", re.DOTALL)
_FIELDS = {
    "partition": "partition",
    "time": "walltime",
    "cpus-per-task": "cpus",
    "mem": "memory",
    "gres": "gpus and gpu_type",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
}
"""The key that replaces each of these options of sbatch."""

_OURS = (
    *("array", "chdir", "error", "export", "hold", "job-name", "nodes", "ntasks", "output"),
    *("parsable", "requeue", "test-only", "wait", "wrap"),
)
"""Options that would prevent the process that waits for a job from following it."""


class SlurmTag(Frozen):
    """Payloads of one dtype as SLURM jobs. For null settings the cluster's defaults apply."""

    executor: Literal["slurm"]
    max_concurrent: PositiveInt = Field(default=4, description="most jobs queued or running")
    batch: PositiveInt = Field(default=20, description="most keys per job")
    partition: str | None = Field(default=None, min_length=1, description="name of the partition")
    walltime: str = Field(
        pattern=_WALLTIME, description="time limit of a job, in quotes, such as '04:00:00'"
    )
    cpus: PositiveInt = Field(default=1, description="cores of a job")
    memory: str | None = Field(
        default=None, pattern=r"^[1-9]\d*[KMGT]$", description="memory of a job, such as 16G"
    )
    gpus: NonNegativeInt = Field(default=0, description="GPUs of a job")
    gpu_type: str | None = Field(
        default=None, min_length=1, description="type of the GPUs, such as a100"
    )
    account: str | None = Field(default=None, min_length=1, description="account to charge")
    qos: str | None = Field(default=None, min_length=1, description="quality of service")
    constraint: str | None = Field(
        default=None, min_length=1, description="features that a node must have"
    )
    options: tuple[str, ...] = Field(
        default=(), description="further options of sbatch, such as --exclude=node7"
    )
    python: str | None = Field(
        default=None, description="Python with this project, on the nodes; null: this Python"
    )
    setup: tuple[str, ...] = Field(
        default=(), description="shell lines before the payload, such as module load cuda"
    )
    threads: PositiveInt | None = Field(default=None, description="threads of a job; null: cpus")
    env: dict[str, str] = Field(default_factory=dict, description="added to the environment")

    @model_validator(mode="after")
    def _consistent(self) -> "SlurmTag":
        if self.gpu_type and not self.gpus:
            raise ValueError(f"gpu_type is {self.gpu_type}, but gpus is 0; set gpus")
        if self.threads and self.threads > self.cpus:
            raise ValueError(f"threads is {self.threads}, but cpus is {self.cpus}; raise cpus")
        for option in self.options:
            _check_option(option)
        check(self)
        return self

    @property
    def slots(self) -> int:
        """How many jobs of this dtype may be queued or running at once."""
        return self.max_concurrent

    @property
    def seconds(self) -> int:
        """The walltime in seconds, read as sbatch reads it."""
        days, _, rest = self.walltime.rpartition("-")
        parts = [int(part) for part in rest.split(":")]
        if days:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
        elif len(parts) == 3:
            hours, minutes, seconds = parts
        else:
            hours, (minutes, seconds) = 0, (*parts, 0)[:2]
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    def queue(self) -> "SlurmQueueConfig":
        """Return what a job asks for, as dagster-slurm's queue configuration."""
        # Not above: the import takes a second or two, and cards are read where no job is submitted.
        from dagster_slurm import SlurmQueueConfig

        return SlurmQueueConfig(
            partition=self.partition or "",
            time_limit=self.walltime,
            cpus=self.cpus,
            gpus_per_node=self.gpus,
            mem=self.memory,
            account=self.account,
            qos=self.qos,
        )

    def sbatch(self) -> list[str]:
        """Return the options of sbatch, which contain every setting of the card."""
        queue, kind = self.queue(), f":{self.gpu_type}" if self.gpu_type else ""
        asked = {
            "partition": queue.partition,
            "time": queue.time_limit,
            "nodes": queue.num_nodes,
            "ntasks": 1,
            "cpus-per-task": queue.cpus,
            "mem": queue.mem,
            "gres": queue.gpus_per_node and f"gpu{kind}:{queue.gpus_per_node}",
            "account": queue.account,
            "qos": queue.qos,
            "constraint": self.constraint,
        }
        given = [f"--{name}={value}" for name, value in asked.items() if value]
        return [*given, "--no-requeue", *self.options]

    def environment(self, dtype: Dtype) -> dict[str, str]:
        """Return the variables that a job exports. A job with GPUs never falls back to the CPU."""
        threads = self.threads or self.cpus
        ours = one_process(dtype, threads) if not self.gpus else {"JAX_PLATFORMS": "cuda"}
        return {**ours, **self.env, "JAX_ENABLE_X64": str(int(dtype == "float64"))}

    def route(self) -> str:
        """Return one line that says where payloads run."""
        keys = f"{self.batch} keys each" if self.batch > 1 else "1 key each"
        return f"slurm, {self.max_concurrent} jobs at once, {keys}: {' '.join(self.sbatch())}"


class Ssh(Frozen):
    """How the login node is reached by ssh, without a password."""

    host: str = Field(default="localhost", min_length=1, description="the login node")
    port: PositiveInt = Field(default=22, description="its ssh port")
    user: str | None = Field(default=None, description="user name there; null: as here")
    key: str | None = Field(
        default=None, description="file of a private key; null: as in ~/.ssh/config, or the agent's"
    )
    known_hosts: str | None = Field(
        default=None, description="file of known hosts; null: ~/.ssh/known_hosts"
    )
    jump: "Ssh | None" = Field(default=None, description="intermediate host")

    @model_validator(mode="after")
    def _consistent(self) -> "Ssh":
        check_host("host", self.host)
        check_host("user", self.user)
        check(self)
        return self


class Cluster(Frozen):
    """The cluster that all SLURM tags of a card use."""

    ssh: Ssh = Ssh()
    home: str | None = Field(
        default=None,
        pattern="^/",
        description="path of LAMBDA_HAT_HOME on login node and nodes; null: the same path",
    )
    poll_interval: PositiveFloat = Field(
        default=10.0, description="seconds between polls of a job that has just changed state"
    )
    poll_interval_max: PositiveFloat = Field(
        default=60.0, description="largest number of seconds between polls of a job"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Cluster":
        if self.poll_interval_max < self.poll_interval:
            raise ValueError(
                f"poll_interval_max is {self.poll_interval_max:g}, below poll_interval "
                f"{self.poll_interval:g}; raise it"
            )
        check(self)
        return self

    def route(self) -> str:
        """Return one line with the login node and the polling interval."""
        ssh = self.ssh
        user = f"{ssh.user}@" if ssh.user else ""
        every = f"{self.poll_interval:g} to {self.poll_interval_max:g} s"
        return f"cluster -> {user}{ssh.host}:{ssh.port}, each job polled every {every}"


def _check_option(option: str) -> None:
    found = _OPTION.fullmatch(option)
    if not found:
        raise ValueError(f"options has {option!r}; write the long form, --name or --name=value")
    if key := _FIELDS.get(found[1]):
        raise ValueError(f"options has {option!r}; write {key} instead")
    if found[1] in _OURS:
        rule = "with which a job cannot be followed"
        raise ValueError(f"options has {option!r}, {rule}; remove it")
