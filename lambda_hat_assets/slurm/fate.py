"""What became of the keys of a job that has ended: made, failed, or to be tried again.

The store says what is made; events say what failed and why; the job's end says what happened to
the rest. A payload dies at one key: that key is charged, those behind it are not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lambda_hat_assets.compute import Order, Result
from lambda_hat_assets.slurm.card import SlurmTag
from lambda_hat_assets.slurm.cluster import End
from lambda_hat_core import stages
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.store import Store
from lambda_hat_core.worker_client import Event, how_it_ended

FINAL = ("CANCELLED", "OUT_OF_MEMORY", "REFUSED")
"""Ends that would come again; all others are tried once more."""


class Job(NamedTuple):
    """A job that has ended.

    Attributes:
        number: SLURM's, None if it refused the job.
        end: how.
        words: what it wrote last on stderr, or why it was refused.
    """

    number: int | None
    end: End
    words: str


class Fate(NamedTuple):
    """What became of one order.

    Attributes:
        results: artifacts in their order, the last perhaps a failure.
        is_again: whether the rest is to be tried again.
        died: whether the failure is the job's, which nobody has noted in the store yet.
    """

    results: list[Result]
    is_again: bool = False
    died: bool = False

    @property
    def is_failed(self) -> bool:
        """Whether the last result is a failure."""
        return bool(self.results) and self.results[-1].failure is not None


def fates(
    store: Store,
    orders: Sequence[Order],
    events: Sequence[Event],
    reason: str,
    state: str,
    charges: Counter[str],
) -> dict[str, Fate]:
    """Return what became of every order, and charge those at which the job ended.

    Args:
        store: what it has is made.
        orders: what the job was asked for.
        events: begun, done and failed, of all of its keys.
        reason: in words, how the job ended.
        state: of the job at its end.
        charges: failed tries by key, to which this job's are added.
    """
    ends = {event["id"]: event for event in events}
    found = {order.key: _made(store, order) for order in orders}
    left = [order for order in orders if len(found[order.key]) < len(order.kinds)]
    failed = {o.key: ends[o.key] for o in left if _is(ends, o.key, "failed")}
    rest = [order.key for order in left if order.key not in failed]
    begun = [key for key in rest if _is(ends, key, "begun")]
    charged = set(begun or rest) | {key for key, end in failed.items() if end["transient"]}
    if state == "CANCELLED":
        charged |= set(rest)
    charges.update(charged)
    fate = {key: Fate(results) for key, results in found.items()}
    for order in left:
        key, results = order.key, found[order.key]
        died = key not in failed
        again = charges[key] < 2 and not (died and key in charged and state in FINAL)
        if not died:
            again = again and failed[key]["transient"]
        if not again:
            why = reason if died else failed[key]["reason"]
            results.append(Result(key, order.kinds[len(results)], {}, failure=why))
        fate[key] = Fate(results, again, died and not again)
    return fate


def _made(store: Store, order: Order) -> list[Result]:
    """Return the artifacts of an order that the store has, up to the first that it lacks."""
    results: list[Result] = []
    for kind in order.kinds:
        if not store.is_complete(kind, order.key):
            break
        results.append(Result(order.key, kind, stages.record(store, kind, order.key)))
    return results


def _is(ends: Mapping[str, Event], key: str, event: str) -> bool:
    return key in ends and ends[key]["event"] == event


def why(job: Job, dtype: Dtype, tag: SlurmTag) -> str:
    """Return in one line how a job ended, and what to do about it."""
    name, words = f"SLURM job {job.number}", f" ({job.words})" if job.words else ""
    change = f"in the card, or by --set {dtype}."
    code, _, signal = (job.end.code or "0:0").partition(":")
    match job.end.state:
        case "REFUSED":
            return f"no job was submitted ({job.words}); asked for {' '.join(tag.sbatch())}"
        case "TIMEOUT":
            return (
                f"{name} ran over its walltime of {tag.walltime}; "
                f"raise walltime {change}walltime=..., or lower n_draws"
            )
        case "OUT_OF_MEMORY":
            asked = tag.memory or "the partition's default"
            return (
                f"{name} ran out of memory ({asked}); raise memory {change}memory=..., "
                f"or {stages.LESS_MEMORY}"
            )
        case "CANCELLED":
            return f"{name} was cancelled on the cluster; run the same command again"
        case "COMPLETED":
            return f"{name} ended well, but neither reported this key nor left it in the store"
        case "FAILED":
            number = -int(signal) if signal not in ("", "0") else int(code or 0)
            return f"{name} failed: {how_it_ended(number)}{words}"
        case state:
            return f"{name} ended as {state}{words}"
