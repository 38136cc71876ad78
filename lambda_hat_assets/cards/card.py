"""The compute card: where payloads of each dtype run, how many at once, in which environment."""

import os
import sys
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from lambda_hat_assets.cards.environment import check, one_process
from lambda_hat_assets.cards.slurm import Cluster, SlurmTag
from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.samplers.base import Dtype

WORKER = ("-m", "lambda_hat_core.work.worker")
DTYPES: tuple[Dtype, Dtype] = ("float64", "float32")


class LocalTag(Frozen):
    """Payloads of one dtype on this machine."""

    executor: Literal["local"] = "local"
    max_concurrent: PositiveInt | None = Field(
        default=None, description="most payload processes at once; null: cores // threads"
    )
    threads: PositiveInt = Field(default=1, description="cores of one payload process")
    env: dict[str, str] = Field(default_factory=dict, description="added to its environment")
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="command of the worker; null: this Python runs it"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "LocalTag":
        check(self)
        return self

    @property
    def slots(self) -> int:
        """How many payload processes of this dtype may run at once."""
        return self.max_concurrent or max(1, cores() // self.threads)

    def argv(self) -> list[str]:
        """Return the words of the command that starts a worker."""
        return list(self.command or (sys.executable, *WORKER))

    def environment(self, dtype: Dtype) -> dict[str, str]:
        """Return the variables that a payload's environment has in addition to this process's."""
        ours = one_process(dtype, self.threads, os.environ.get("XLA_FLAGS", ""))
        return {**ours, **self.env, "JAX_ENABLE_X64": ours["JAX_ENABLE_X64"]}

    def route(self) -> str:
        """Return one line that says where payloads run."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"local, {self.slots} at once, {threads} each"


Tag = LocalTag | SlurmTag


class Tags(Frozen):
    """One entry per dtype. If only one is given, it applies to both dtypes."""

    float32: Annotated[Tag, Field(discriminator="executor")] | None = None
    float64: Annotated[Tag, Field(discriminator="executor")] | None = None


class Card(Frozen):
    """A whole card."""

    max_concurrent: PositiveInt | None = Field(
        default=None,
        description="most payload processes at once, both dtypes together; null: cores // threads",
    )
    shared_filesystem: bool = Field(
        default=False,
        description="whether several machines write the store; studies are then kept in a journal, "
        "not in SQLite",
    )
    cluster: Cluster | None = Field(default=None, description="how SLURM is reached")
    tags: Tags = Tags()

    @model_validator(mode="after")
    def _reachable(self) -> "Card":
        if self.cluster is None and self.slurm:
            raise ValueError("tags say slurm, but there is no cluster; write cluster: {ssh: ...}")
        return self

    def tag(self, dtype: Dtype) -> Tag:
        """Return the entry of a dtype."""
        own, other = self.tags.float64, self.tags.float32
        if dtype == "float32":
            own, other = other, own
        return own or other or LocalTag()

    @property
    def local(self) -> list[LocalTag]:
        """The entries whose payloads are processes on this machine."""
        return [tag for tag in self._entries() if isinstance(tag, LocalTag)]

    @property
    def slurm(self) -> list[SlurmTag]:
        """The entries whose payloads are SLURM jobs."""
        return [tag for tag in self._entries() if isinstance(tag, SlurmTag)]

    @property
    def slots(self) -> int:
        """How many steps may run at once: steps with processes here plus steps with SLURM jobs."""
        return self._here() + sum(tag.slots for tag in self.slurm)

    def at_once(self, dtype: Dtype) -> int:
        """Return the largest number of payload processes, or SLURM jobs, of a dtype at once."""
        tag = self.tag(dtype)
        return tag.slots if isinstance(tag, SlurmTag) else min(tag.slots, self._here())

    def routing(self) -> list[str]:
        """Return one line per dtype that says where its payloads run, and one for the cluster."""
        lines = [f"{dtype} -> {self.tag(dtype).route()}" for dtype in DTYPES]
        return [*lines, self.cluster.route()] if self.cluster and self.slurm else lines

    def warnings(self) -> list[str]:
        """Return one line per setting that may have an unexpected effect."""
        given = [dtype for dtype in DTYPES if getattr(self.tags, dtype) is not None]
        if len(given) != 1:
            return []
        (missing,) = set(DTYPES) - set(given)
        return [f"the card has only the entry {given[0]}, which applies to {missing} too"]

    def _entries(self) -> list[Tag]:
        entries = [self.tag(dtype) for dtype in DTYPES]
        return entries if all(vars(self.tags).values()) else entries[:1]

    def _here(self) -> int:
        if not self.local:
            return 0
        threads = max(tag.threads for tag in self.local)
        return self.max_concurrent or max(1, cores() // threads)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
