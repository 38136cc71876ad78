"""What a run does with its target: the batch size of its sampler, and the seed of a checkpoint."""

import zlib
from typing import Literal

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.samplers.base import setup_rows
from lambda_hat_core.config.spec import RunSpec, TargetSpec

_RECORDED = 4
"""A draw is recorded on `record_rows` examples if there are more than this many times as many."""


def _effective(key: str, rows: int | Literal["auto"] | None, n: int | None) -> int | None:
    """Return on how many examples something is done, None for all of them."""
    if n is None:
        return None
    if key == "setup_rows":
        return setup_rows(rows, n)
    assert rows != "auto"
    return None if rows is None or n <= _RECORDED * rows else rows


def on_examples[S: Frozen](sampler: S, n: int | None, *, written: bool) -> S:
    """Return the sampler with the numbers of examples that it uses for n of them.

    If the batch size is unset and its default is >= n, the full batch is used. A batch size that
    was set must not exceed n. A potential has no examples, so the full loss is always used. What
    does the same has one id: a number of rows that does what its default does, because there are
    not so many examples, is the default.

    Args:
        sampler: any sampler; one without batches is returned unchanged.
        n: number of examples of the target, None for a potential.
        written: whether the batch size was set explicitly rather than left at its default.

    Raises:
        ValueError: if a batch size that was set exceeds n.
    """
    fields = type(sampler).model_fields
    for key in ("setup_rows", "record_rows"):
        if key in fields and (value := getattr(sampler, key)) != (usual := fields[key].default):
            effect = _effective(key, value, n)
            if effect == _effective(key, usual, n):
                sampler = sampler.model_copy(update={key: usual})
            elif effect is None:
                sampler = sampler.model_copy(update={key: None})
    size = getattr(sampler, "batch_size", None)
    if size is None or (size == "auto" and n is not None):
        return sampler
    if size == "auto":
        return sampler.model_copy(update={"batch_size": None})
    if n is not None and (size < n or (written and size == n)):
        return sampler
    if n is not None and written:
        raise ValueError(
            f"{sampler.model_dump()['kind']}.batch_size is {size}, but the target has n = {n}; "
            "choose batch_size <= n, or null for the full batch"
        )
    return sampler.model_copy(update={"batch_size": None})


def as_sampled(run: RunSpec, target: TargetSpec, n: int | None) -> RunSpec:
    """Return the run with the batch size and the seed that it uses, once its target is built.

    The checkpoints of a training have one seed in their specs, so that the one whose settings are
    held is the same run for all. With one stream of random numbers their errors would not be
    independent, as the curve through them assumes, so each step has a stream of its own.

    For most targets n is known when the experiment is planned, so the run's spec already has the
    batch size that is used. The n of a custom target is known only after its factory has run, but
    ids are computed before. There the spec holds the default batch size, whether it was set
    explicitly or left unset, so that both are one run with one id. The default therefore counts as
    unset here and is replaced by the full batch according to the rule of `on_examples`; any other
    size was set, and must not exceed n. What a run does is still determined by its id, because the
    target's id is part of the spec and determines n. The trace's `info` holds the batch size that
    was used.

    Args:
        run: the run as planned.
        target: the spec of its target.
        n: number of examples of the built target, None for a potential.

    Raises:
        ValueError: if a batch size other than the default exceeds n.
    """
    if target.step is not None:
        run = run.model_copy(update={"seed": seed_at(run.seed, target.step)})
    if not isinstance(target.model, Custom):
        return run
    field = type(run.sampler).model_fields.get("batch_size")
    written = field is not None and getattr(run.sampler, "batch_size", None) != field.default
    sampler = on_examples(run.sampler, n, written=written)
    return run.model_copy(update={"sampler": sampler})


def seed_at(seed: int, step: int | float) -> int:
    """Return the seed of the random numbers at one step of a training, in [0, 2^31).

    Args:
        seed: the seed that all its checkpoints share.
        step: the step; 3.0 is the step 3.
    """
    at = int(step) if step == int(step) else step
    return zlib.crc32(f"{seed} at step {at}".encode()) >> 1
