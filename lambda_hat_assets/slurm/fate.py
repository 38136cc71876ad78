"""The outcome of each key of a job that has ended: made, failed, or to be tried again.

The store shows which artifacts were made, the events which keys failed and why, and the final state
of the job explains the rest. A payload dies while it computes one key, so the failed attempt is
counted for that key only, not for the keys after it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.compute.orders import Order, Result, is_made
from lambda_hat_assets.slurm.queue import JobState
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.work import outcomes
from lambda_hat_core.work.client import Event, how_it_ended

_FINAL = ("CANCELLED", "OUT_OF_MEMORY", "REFUSED")
"""Final states that another attempt would repeat. After all others keys are tried once more."""


class Fate(NamedTuple):
    """The outcome of one order.

    Attributes:
        results: the artifacts in order, followed by a failure if there is one.
        again: the kinds that are to be tried again.
        died: whether the failure is that of the job, which the store has no record of yet.
    """

    results: list[Result]
    again: tuple[Kind, ...] = ()
    died: bool = False


def fates(
    store: Store,
    orders: Sequence[Order],
    events: Sequence[Event],
    reason: str,
    state: str,
    charges: Counter[str],
) -> list[Fate]:
    """Return the outcome of every order, and count failed attempts.

    Args:
        store: the store, which has the artifacts.
        orders: the orders of the job.
        events: the events "begun", "done" and "failed" of all keys of the job.
        reason: a description of how the job ended.
        state: the final state of the job.
        charges: failed attempts by key, to which those of this job are added.
    """
    made = {order.key: _made(store, order) for order in orders}
    left = [order.key for order in orders if len(made[order.key]) < len(order.kinds)]
    last = {event["id"]: event for event in events}
    failed = {key: last[key] for key in left if key in last and last[key]["event"] == "failed"}
    died = [key for key in left if key not in failed]
    begun = [key for key in died if key in last and last[key]["event"] == "begun"]
    charged = set(died if state == "CANCELLED" else begun or died)
    charges.update(charged | {key for key, event in failed.items() if event["transient"]})
    final = {key for key, event in failed.items() if not event["transient"]}
    final |= charged if state in _FINAL else set()
    found = []
    for key, kinds, *_ in orders:
        results, rest = made[key], kinds[len(made[key]) :]
        is_failed = key in left and (key in final or charges[key] >= 2)
        if is_failed:
            words = failed[key]["reason"] if key in failed else reason
            results.append(Result(key, rest[0], {}, failure=words))
        again = () if is_failed else rest
        found.append(Fate(results, again, died=is_failed and key not in failed))
    return found


def _made(store: Store, order: Order) -> list[Result]:
    """Return the artifacts of an order that the store has, up to the first that is missing."""
    results: list[Result] = []
    for kind in order.kinds:
        if not is_made(store, order, kind):
            break
        results.append(Result(order.key, kind, outcomes.record(store, kind, order.key)))
    return results


def why(number: int | None, state: JobState, dtype: Dtype, tag: SlurmTag) -> str:
    """Return one line that says how a job ended and what to do about it.

    Args:
        number: the number of the job; None if SLURM refused it.
        state: the final state of the job.
        dtype: the dtype of its keys.
        tag: the card's entry for the dtype.
    """
    name, words = f"SLURM job {number}", f" ({state.words})" if state.words else ""
    change = f"in the card, or by --set {dtype}."
    code, _, signal = (state.code or "0:0").partition(":")
    match state.name:
        case "REFUSED":
            return f"no job was submitted{words}; its options were {' '.join(tag.sbatch())}"
        case "TIMEOUT":
            return (
                f"{name} exceeded its walltime of {tag.walltime}; "
                f"raise walltime {change}walltime=..., or lower n_draws or until.max_fge"
            )
        case "OUT_OF_MEMORY":
            asked = tag.memory or "the partition's default"
            return (
                f"{name} ran out of memory ({asked}); raise memory {change}memory=..., "
                f"or {outcomes.LESS_MEMORY}"
            )
        case "CANCELLED":
            return f"{name} was cancelled on the cluster; run the same command again"
        case "COMPLETED":
            return f"{name} succeeded, but neither reported this key nor stored its artifacts"
        case "FAILED":
            died = -int(signal) if signal not in ("", "0") else int(code or 0)
            return f"{name} failed: {how_it_ended(died)}{words}"
        case other:
            return f"{name} ended as {other}{words}"
