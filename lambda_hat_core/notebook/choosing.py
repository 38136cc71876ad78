"""`auto`: the sampler that suits the size of a problem, and on singular ground `tempered`.

Where the curvature changes by orders of magnitude within the posterior, one step size suits only a
part of it. The warm-up of NUTS sees that as steps that diverge, before a draw is made. A run that
ends with something against it besides its precision shows it too: chains that have not mixed or
left every bound, a step whose bias is too large. After a minibatch sampler NUTS is tried, which is
right wherever one step size suits. Replica exchange then takes more gradients, and is right.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.analysis.verdict import findings
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.drive import Checkpoint
from lambda_hat_core.samplers.trace import Trace


class _Diverges(Exception):
    """The warm-up of NUTS went on with a higher target because steps diverged."""

    def __init__(self, work: float):
        self.work = work


class _Memory(Checkpoint):
    """Remembers the set-up, for the next sampler to begin with, and looks at the warm-up."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.target = math.inf

    def remember(self, name: str, known: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return what `make` returned the first time.

        Raises:
            _Diverges: if that is a kernel whose warm-up aimed at more than the target.
        """
        del known
        if name not in self.kept:
            self.kept[name] = make()
            tuned = self.kept[name][0] if name.startswith("tuned") else None
            if tuned is not None and tuned.info.get("target_acceptance", 0.0) > self.target:
                raise _Diverges(tuned.work)
        return self.kept[name]


def run_or_tempered(
    draw: Callable[..., Trace],
    run: RunSpec,
    *,
    max_fge: float | None,
    say: Callable[[str], None],
    has_time: Callable[[], bool] = lambda: True,
) -> tuple[RunSpec, Trace]:
    """Return the run that was made, and its trace.

    Args:
        draw: makes a run, with a checkpoint.
        run: of `nuts` or `sghmc`, with a stop rule.
        max_fge: the budget that was asked for, of all samplers together; None for one of each that
            another may follow. Once it is spent the last run counts, whatever is against it.
        say: is told why another sampler follows.
        has_time: whether there is time for another one, which takes longer than those before.
    """
    spec = run.sampler
    assert isinstance(spec, Nuts | Sghmc) and spec.until is not None
    rule, memory, spent = spec.until, _Memory(), 0.0
    most = math.inf if max_fge is None else max_fge
    trials = [spec] if isinstance(spec, Nuts) else [spec, Nuts(n_chains=spec.n_chains, until=rule)]

    def made(sampler: Nuts | Sghmc | Tempered, budget: float) -> tuple[RunSpec, Trace]:
        until = rule.model_copy(update={"max_fge": budget})
        now = run.model_copy(update={"sampler": sampler.model_copy(update={"until": until})})
        trace = draw(now, checkpoint=memory)
        if spent:
            work, cumulative = {**trace.work, "choice": spent}, trace.cumulative_fge + spent
            trace = trace._replace(work=work, cumulative_fge=cumulative)
        return now, trace

    for at, trial in enumerate(trials):
        memory.target = trial.target_acceptance if isinstance(trial, Nuts) else math.inf
        budget = _TRIED if max_fge is None else max(max_fge - spent, 1.0)
        try:
            now, seen = made(trial, budget)
        except _Diverges as diverges:
            if not has_time() or spent + diverges.work >= most:
                memory.target = math.inf
                return made(trial, budget)
            why, work = "steps diverge in the warm-up of nuts", diverges.work
        else:
            no_more = not has_time() or seen.work_fge >= most
            if no_more or not _is_lost(seen):
                return now, seen
            why = f"{trial.kind} has not mixed within its budget"
            if seen.failure is not None:
                why = f"the chains of {trial.kind} left every bound"
            work = sum(seen.work[name] for name in seen.work if name not in _SHARED)
        spent += work
        say(f"{why}: {'tempered' if at + 1 == len(trials) else trials[at + 1].kind}")
        memory.kept = {"pilot": memory.kept["pilot"]}
    memory.target = math.inf
    budget = Tempered.max_fge if max_fge is None else max(max_fge - spent, 1.0)
    return made(Tempered(n_chains=spec.n_chains), budget)


_TRIED = Until().max_fge
"""Budget of a run that another sampler follows. `nuts` alone has twice that by default."""

_SHARED = ("spectrum", "pilot", "choice")
"""Work that the next sampler takes over, or that has been counted."""


def _is_lost(trace: Trace) -> bool:
    """Return whether something besides its precision speaks against a run."""
    found = measure(trace)._replace(rel_se=None)
    return any(findings(found))
