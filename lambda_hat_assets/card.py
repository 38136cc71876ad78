"""The compute card: where payloads of each dtype run, how many at once, in which environment."""

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.plan.errors import Place, Problems, display, suggest
from lambda_hat_core.plan.read import read_mapping
from lambda_hat_core.plan.sections import inline, validate

WORKER = ("-m", "lambda_hat_core.worker")


class LocalTag(Frozen):
    """Payloads of one dtype on this machine."""

    executor: Literal["local"] = "local"
    max_concurrent: PositiveInt | None = Field(
        default=None, description="payload processes at once; null: cores // threads"
    )
    threads: PositiveInt = Field(default=1, description="cores of one payload process")
    env: dict[str, str] = Field(default_factory=dict, description="added to its environment")
    command: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="starts the worker; null: this Python's own"
    )

    @property
    def slots(self) -> int:
        """Payload processes of this dtype that may run at once."""
        return self.max_concurrent or max(1, cores() // self.threads)

    def argv(self) -> list[str]:
        """Return the command that starts a worker."""
        return list(self.command or (sys.executable, *WORKER))

    def environment(self, dtype: Dtype) -> dict[str, str]:
        """Return what a payload finds in its environment beside what this process has.

        `threads` becomes that many XLA host devices, over which chains are sharded, each of which
        computes on one thread: XLA takes the size of its thread pool from NPROC, and would else
        divide every loop among all cores. Machines without 512-bit vectors ignore that flag.
        """
        flags = [
            os.environ.get("XLA_FLAGS", ""),
            f"--xla_force_host_platform_device_count={self.threads}",
            "--xla_cpu_multi_thread_eigen=false",
            "--xla_cpu_prefer_vector_width=512",
        ]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        return {
            **one_thread,
            "NPROC": str(self.threads),
            "XLA_FLAGS": " ".join(flags).strip(),
            **self.env,
            "JAX_ENABLE_X64": str(int(dtype == "float64")),
        }

    def route(self) -> str:
        """Return in words where payloads go."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"local, {self.slots} at once, {threads} each"


class Tags(Frozen):
    """One entry a dtype."""

    float32: LocalTag = LocalTag()
    float64: LocalTag = LocalTag()


class Card(Frozen):
    """A whole card."""

    max_concurrent: PositiveInt | None = Field(
        default=None,
        description="payload processes at once over both dtypes; null: cores // threads",
    )
    shared_filesystem: bool = Field(
        default=False,
        description="several machines write the store: studies are a journal, not SQLite",
    )
    tags: Tags = Tags()

    def tag(self, dtype: Dtype) -> LocalTag:
        """Return the entry of a dtype."""
        return self.tags.float64 if dtype == "float64" else self.tags.float32

    @property
    def slots(self) -> int:
        """Payload processes that may run at once."""
        threads = max(self.tags.float32.threads, self.tags.float64.threads)
        return self.max_concurrent or max(1, cores() // threads)

    def routing(self) -> list[str]:
        """Return one line a dtype: where it goes."""
        return [f"{dtype} -> {self.tag(dtype).route()}" for dtype in ("float64", "float32")]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_card(card: str, config: Path) -> Card:
    """Return a card, given by its name under `config`/card or by a path.

    Raises:
        ConfigError: if there is none, or naming every mistake in it.
    """
    folder = config / "card"
    is_path = card.endswith((".yaml", ".yml")) or os.sep in card
    file = Path(card).expanduser() if is_path else folder / f"{card}.yaml"
    if not file.is_file() and not is_path:
        known = [path.stem for path in folder.glob("*.yaml")]
        place = Place(display(folder), "LAMBDA_HAT_CARD")
        raise place.error("no such card", suggest(card, known), card)
    return _read_card(file)


def _read_card(file: Path) -> Card:
    """Validate part by part, so that a mistake is named by its full path."""
    place = Place(display(file))
    content = read_mapping(file)
    at = place.key("tags")
    tags = content.get("tags", {})
    if not isinstance(tags, dict):
        raise at.error("a mapping from dtype to entry", "write float32: {...}", tags)
    problems = Problems()
    for dtype in tags.keys() - Tags.model_fields.keys():
        way_out = suggest(dtype, Tags.model_fields)
        problems.add(at.key(dtype).problem("no such dtype", way_out, tags[dtype]))
    for dtype in Tags.model_fields:
        with problems:
            entry = tags.get(dtype, {})
            if not isinstance(entry, dict):
                raise at.key(dtype).error("a mapping", "write {executor: local}", entry)
            validate(inline("card entry", entry, at.key(dtype)), LocalTag)
    with problems:
        rest = {key: value for key, value in content.items() if key != "tags"}
        validate(inline("card", rest, place), Card)
    problems.raise_any()
    return Card.model_validate(content)
