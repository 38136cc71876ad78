"""Short experiments for tests of plans."""

from pathlib import Path

from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.plan import Plan

CONFIG = Path(__file__).parents[2] / "config"


def only(plan: Plan) -> tuple[TargetSpec, RunSpec]:
    [target], [run] = plan.targets.values(), plan.runs.values()
    return target, run


def one(targets: str, samplers: str = "{name: nuts}", rest: str = "") -> str:
    return f"targets: [{targets}]\nsamplers: [{samplers}]\n{rest}"
