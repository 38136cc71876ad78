"""`auto`: the sampler that suits the size of a problem, and on singular ground `tempered`.

Where the curvature changes by orders of magnitude within the posterior, one step size suits only a
part of it. The warm-up of NUTS sees that as steps that diverge, before a draw is made. A run that
ends with something against it besides its precision shows it too: chains that have not mixed or
left every bound, a step whose bias is too large. Replica exchange then takes more gradients, and is
right.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lambda_hat_core.analysis.measure import measure
from lambda_hat_core.analysis.verdict import findings
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.drive import Checkpoint
from lambda_hat_core.samplers.trace import Trace


class _Memory(Checkpoint):
    """Remembers the set-up, so that a run begins where a shorter one of the same chains ended."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def remember(self, name: str, known: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return what `make` returned the first time."""
        del known
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]


def run_or_tempered(
    draw: Callable[..., Trace],
    run: RunSpec,
    *,
    max_fge: float | None,
    say: Callable[[str], None],
) -> tuple[RunSpec, Trace]:
    """Return the run that was made, and its trace.

    Args:
        draw: makes a run, with a checkpoint.
        run: of `nuts` or `sghmc`, with a stop rule.
        max_fge: the budget that was asked for, None for the default.
        say: is told why it became `tempered`.
    """
    spec = run.sampler
    assert isinstance(spec, Nuts | Sghmc) and spec.until is not None
    memory, seen, why = _Memory(), None, ""
    if isinstance(spec, Nuts):
        glance = spec.until.model_copy(update={"max_fge": 1.0})
        seen = draw(_with(run, spec.model_copy(update={"until": glance})), checkpoint=memory)
        if seen.failure is not None or seen.info["target_acceptance"] > spec.target_acceptance:
            why = "steps diverge in the warm-up of nuts"
    if not why:
        seen = draw(run, checkpoint=memory)
        if seen.info.get("spent") == "max_seconds" or not _is_lost(seen):
            return run, seen
        why = f"{spec.kind} has not mixed within its budget"
        if seen.failure is not None:
            why = f"the chains of {spec.kind} left every bound"
    assert seen is not None
    say(f"{why}: tempered")
    memory.kept = {"pilot": memory.kept["pilot"]}
    spent = seen.work_fge - seen.work["pilot"] - seen.work["spectrum"]
    budget = Tempered.max_fge if max_fge is None else max(max_fge - spent, 1.0)
    until = spec.until.model_copy(update={"max_fge": budget})
    run = _with(run, Tempered(n_chains=spec.n_chains, until=until))
    trace = draw(run, checkpoint=memory)
    return run, trace._replace(
        work={**trace.work, "choice": spent}, cumulative_fge=trace.cumulative_fge + spent
    )


def _with(run: RunSpec, sampler: Nuts | Sghmc | Tempered) -> RunSpec:
    return run.model_copy(update={"sampler": sampler})


def _is_lost(trace: Trace) -> bool:
    """Return whether something besides its precision speaks against a run."""
    found = measure(trace)._replace(rel_se=None)
    return any(findings(found))
