"""The loop on the host over chunks of draws, for Markov chains and for independent draws.

After each chunk it reports progress, looks whether a chain has left, and saves a checkpoint.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from lambda_hat_core.samplers.moments import fold, is_observed, retained
from lambda_hat_core.samplers.progress import Progress
from lambda_hat_core.samplers.rule import Draws, Look, StopRule, looks

Part = dict[str, np.ndarray]
"""What the draws of a chunk recorded, by name; the first axes are (chain, draw)."""


def run_draws(
    advance: Callable[[Any, Int[np.ndarray, " chunk"]], tuple[Any, Part]],
    states: Any,
    parts: list[Part],
    ends: list[float],
    *,
    chunk: int,
    n_draws: int,
    n_burn: int,
    llc_of: Callable[[np.ndarray], np.ndarray],
    is_certified: bool,
    setup_work: float,
    setup_seconds: float,
    progress: Callable[[Progress], None],
    save: Callable[[Any, list[Part], list[float]], None],
    clock: Callable[[], float],
    rule: StopRule | None = None,
    one: str = "chain",
    alternates: bool = False,
    highest: float = math.inf,
) -> Draws:
    """Make `n_draws` draws per chain, or as many as `rule` says, and drop the first `n_burn`.

    The loop stops at the end of the first chunk that holds a loss that is not finite, or too high.

    Args:
        advance: makes the draws with the given numbers, from the states before them.
        states: of all chains.
        parts: the chunks that an earlier process made; it grows.
        ends: the seconds at their ends; it grows.
        chunk: draws per chain between two visits of the host.
        n_draws: draws per chain, without a rule.
        n_burn: how many of them are dropped, without a rule.
        llc_of: maps losses to llc draws for the progress report.
        is_certified: whether `virial_m` means something.
        setup_work: full-gradient evaluations before the first draw.
        setup_seconds: seconds before the first draw.
        progress: is told after every chunk.
        save: keeps states, chunks and ends.
        clock: returns the time in seconds.
        rule: ends the draws.
        one: what a chain is called.
        alternates: whether draws are made at two step sizes.
        highest: llc of a single draw, above which it is none of the posterior's.
    """
    n_draws = n_draws if rule is None else rule.most_draws
    ends_at, dropped = (n_draws, n_burn) if rule is None else (0, 0)
    began = clock() - (ends[-1] if ends else 0.0)
    failure, stopped_by, spent = None, "length", None
    seen = Look(0, is_enough=False)

    def collected(n_draws: int, n_burn: int) -> Draws:
        return _collect(parts, ends, n_draws, n_burn, setup_work, setup_seconds, failure)

    while len(parts) * chunk < n_draws and failure is None:
        first = len(parts) * chunk
        if rule is not None and parts:
            spent = rule.spent(first, setup_work + sum(map(_work, parts)))
            if looks(len(parts)) and not spent:
                seen = rule.look(collected(first, 0))
            if spent or seen.is_enough:
                break
        states, part = advance(states, np.arange(first, first + chunk))
        failure = _left(llc_of(part["loss"]), highest, first, one)
        parts.append(part)
        fold(parts, alternates=alternates, n_burn=dropped, n_draws=ends_at)
        ends.append(clock() - began)
        if failure is None:
            save(states, parts, ends)
        done = min(first + chunk, n_draws)
        if rule is not None:
            n_burn = int(rule.told_burn * done)
        kept = slice(-1, None) if done <= n_burn else slice(n_burn, None)
        with np.errstate(invalid="ignore", over="ignore"):  # of chains that have left
            means = llc_of(_joined(parts, "loss")[:, kept]).mean(axis=1)
            n_chains = means.size
            spread = float(means.std(ddof=1)) if n_chains > 1 else np.nan
            virial_m = _joined(parts, "virial_m")[:, kept].mean()
            llc, se = float(means.mean()), spread / n_chains**0.5
        rate = _rate(ends, chunk)
        work = setup_work + sum(map(_work, parts))
        total = n_draws
        if rule is not None:
            total = rule.total(done, work, llc, se, is_precise=bool(seen.waits_for))
        progress(
            Progress(
                done,
                total,
                n_chains * rate,
                (total - done) / rate,
                llc=llc,
                llc_se=se,
                v_m=float(virial_m) if is_certified else np.nan,
                work_fge=work,
                rel_se=None if rule is None else rule.rel_se,
                waits_for=seen.waits_for,
            )
        )
    if failure is not None:
        stopped_by, spent, n_burn = "failure", None, 0
    elif rule is not None:
        n_draws = min(n_draws, len(parts) * chunk)
        n_burn, is_enough, _ = rule.look(collected(n_draws, 0))
        spent = None if is_enough else spent or "max_draws"
        stopped_by = "precision" if is_enough else "budget"
    observed = None if failure else retained(parts, slice(n_burn, n_draws), dropped=dropped)
    return collected(n_draws, n_burn)._replace(
        stopped_by=stopped_by, spent=spent, observed=observed
    )


def to_host(out: dict[str, Array]) -> Part:
    """Return what a device recorded, in float64, with `loss` in place of its two halves."""
    part = {name: np.asarray(value, np.float64) for name, value in jax.device_get(out).items()}
    with np.errstate(invalid="ignore"):  # of a loss beyond float32 the halves are inf and -inf
        part["loss"] = part.pop("loss_high") + part.pop("loss_low")
    return part


def _left(rises: np.ndarray, highest: float, first: int, one: str) -> str | None:
    """Return where the first draw is at which a chain has left the posterior, None if none has."""
    bad = ~np.isfinite(rises) | (rises > highest)
    if not bad.any():
        return None
    draw = int(np.flatnonzero(bad.any(axis=0))[0])
    chains = np.flatnonzero(bad[:, draw])
    at = f"at draw {first + draw} of {one} {', '.join(map(str, chains.tolist()))}"
    if not np.isfinite(rises[chains, draw]).all():
        return f"the loss is not finite {at}"
    rise = rises[chains, draw].max()
    return f"nbeta (L_n - L_n(w*)) is {rise:.4g} {at}, above the {highest:.4g} of any posterior"


def _rate(ends: list[float], length: int) -> float:
    """Return draws per second and chain.

    The first chunk includes compilation and counts only while it is the only one.
    """
    chunks, since = (len(ends) - 1, ends[0]) if len(ends) > 1 else (1, 0.0)
    return chunks * length / max(ends[-1] - since, 1e-9)


def _joined(parts: list[Part], name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts], axis=1)


def _work(part: Part) -> float:
    return float(np.nansum(part["work"]) + np.nansum(part["recording_work"]))


def _collect(
    parts: list[Part],
    ends: list[float],
    n_draws: int,
    n_burn: int,
    setup_work: float,
    setup_seconds: float,
    failure: str | None,
) -> Draws:
    """Join the chunks and drop the burn-in and the surplus draws of the last chunk."""
    length = parts[0]["loss"].shape[1]
    values = {name: _joined(parts, name) for name in parts[0] if not is_observed(name)}
    work = values.pop("work") + values.pop("recording_work")
    cumulative = setup_work + np.cumsum(np.nan_to_num(work.sum(axis=0)))
    knots = length * np.arange(len(ends) + 1)
    seconds = setup_seconds + np.interp(1 + np.arange(cumulative.size), knots, [0.0, *ends])
    kept = slice(0 if failure else n_burn, n_draws)
    return Draws(
        {name: value[:, kept] for name, value in values.items()},
        cumulative[kept],
        seconds[kept],
        failure,
        kept.start,
    )
