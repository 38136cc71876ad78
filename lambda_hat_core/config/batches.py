"""The batch that a sampler takes of a target's examples: one rule for every door."""

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.spec import RunSpec, TargetSpec


def on_examples[S: Frozen](sampler: S, n: int | None, *, written: bool) -> S:
    """Return the sampler with the batch that it takes of n examples.

    A batch size that nobody wrote becomes the full batch where it is not below n. A written one
    must not exceed n. A potential has no examples to draw from, and is always taken whole.

    Args:
        sampler: any sampler; one without batches comes back as it is.
        n: examples of the target, None for a potential.
        written: whether somebody chose the batch size, rather than its default.

    Raises:
        ValueError: if a written batch size exceeds n.
    """
    size = getattr(sampler, "batch_size", None)
    if size is None:
        return sampler
    if n is not None and (size < n or (written and size == n)):
        return sampler
    if n is not None and written:
        raise ValueError(
            f"{sampler.model_dump()['kind']}.batch_size is {size}, but the target has n = {n}; "
            "choose batch_size <= n, or null for the full batch"
        )
    return sampler.model_copy(update={"batch_size": None})


def as_sampled(run: RunSpec, target: TargetSpec, n: int | None) -> RunSpec:
    """Return the run with the batch that it takes, now that the target has been built.

    Of most targets the plan knows n, so that the run's spec says what is used. The n of a custom
    target is known only once its factory has run, and ids are made before: there the spec holds the
    default batch size, and the same one whether somebody wrote it or left it open, so that both are
    one run with one id. The default therefore counts as not written here and gives way to the full
    batch by the rule of `on_examples`; any other size was chosen, and must not exceed n. What a run
    does remains a function of its id, since the target's id is in the spec and decides n, and the
    trace's `info` holds the batch size that was used.

    Args:
        run: as planned.
        target: its target.
        n: examples that the target turned out to have, None for a potential.

    Raises:
        ValueError: if a batch size other than the default exceeds n.
    """
    if not isinstance(target.model, Custom):
        return run
    field = type(run.sampler).model_fields.get("batch_size")
    written = field is not None and getattr(run.sampler, "batch_size", None) != field.default
    sampler = on_examples(run.sampler, n, written=written)
    return run.model_copy(update={"sampler": sampler})
