"""A runner of trials that computes nothing: its errors are closed forms of the parameters."""

import threading
from typing import Any

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.tuning.payloads import Ran

TRUTH = 10.0
N_CHUNKS = 8


class FakeRunner:
    """SGLD whose bias is 4 step_fraction, heated likewise; 250 work units a chunk.

    Args:
        fail: gives the reason why a run fails, or None.
        dies_after: chunks, over all runs, after which the process is killed.
    """

    def __init__(self, fail=lambda spec: None, dies_after: float = float("inf")):
        self.fail, self.left = fail, dies_after
        self.lock = threading.Lock()
        self.store: dict[str, dict[str, Any]] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []

    def build(self, target):
        pass

    def run(self, spec: RunSpec, target, steer, seconds) -> Ran:
        if spec.id in self.store:
            record = self.store[spec.id]
            return Ran("done", record, record["work_fge"], 0.0, reused=True)
        self.begun.append(spec.id)
        reason = self.fail(spec)
        if reason is not None:
            return Ran("failed", {}, 0.0, 0.0, reason)
        facts = self.facts(spec)
        for chunk in range(1, N_CHUNKS + 1):
            with self.lock:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
            at = {"done": chunk * 50, "total": 400, **facts, "work_fge": 250.0 * chunk}
            stopped = steer(at)
            if stopped is not None:
                return Ran("stopped", {}, at["work_fge"], 0.0, stopped)
        record = {"reasons": []} | facts
        record |= {"run_id": spec.id, "work_fge": 2000.0, "wall_s": 1.0}
        self.store[spec.id] = record
        self.ended.append(spec.id)
        return Ran("done", record, 2000.0, 0.0)

    def facts(self, spec: RunSpec) -> dict[str, Any]:
        bias = 4.0 * spec.sampler.step_fraction + 0.01 * spec.seed
        if spec.sampler.step_fraction > 1.5:
            return {"llc": None, "llc_se": None, "v_m": None, "reasons": ["not finite"]}
        return {"llc": TRUTH + bias, "llc_se": 0.1, "v_m": 1 + bias / TRUTH}
