"""A runner of trials that computes nothing; its errors are closed forms of the parameters."""

import json
import threading
from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.tuning.payloads import Ran

TRUTH = 10.0
N_CHUNKS = 8


class FakeRunner:
    """A fake SGLD with a bias of 4 step_fraction in llc and V_M, and 250 work units per chunk.

    Args:
        fail: returns the reason why a run fails, or None.
        dies_after: number of chunks, over all runs, after which `die` is called.
        die: a function that ends the study or its process.
        folder: stores results between processes; None: in memory.
    """

    def __init__(self, fail=lambda spec: None, dies_after=float("inf"), die=None, folder=None):
        self.fail, self.left, self.folder = fail, dies_after, folder
        self.die = die or self._interrupt
        self.lock = threading.Lock()
        self.store: dict[str, dict[str, Any]] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []

    def build(self, target):
        pass

    def run(self, spec: RunSpec, target, steer, seconds) -> Ran:
        record = self._read(spec.id)
        if record is not None:
            for at in self.progress(self.facts(spec)):
                if (stopped := steer(at)) is not None:
                    return Ran("stopped", {}, at["work_fge"], 0.0, stopped, reused=True)
            return Ran("done", record, record["work_fge"], 0.0, reused=True)
        self.begun.append(spec.id)
        reason = self.fail(spec)
        if reason is not None:
            return Ran("failed", {}, 0.0, 0.0, reason)
        facts = self.facts(spec)
        for at in self.progress(facts):
            with self.lock:
                self.left -= 1
                if self.left < 0:
                    self.die()
            stopped = steer(at)
            if stopped is not None:
                return Ran("stopped", {}, at["work_fge"], 0.0, stopped)
        record = {"reasons": []} | facts
        record |= {"run_id": spec.id, "work_fge": 2000.0, "wall_s": 1.0}
        self._write(spec.id, record)
        return Ran("done", record, 2000.0, 0.0)

    def progress(self, facts):
        for chunk in range(1, N_CHUNKS + 1):
            yield {"done": chunk * 50, "total": 400, **facts, "work_fge": 250.0 * chunk}

    def facts(self, spec: RunSpec) -> dict[str, Any]:
        bias = 4.0 * spec.sampler.fraction + 0.01 * spec.seed
        if spec.sampler.fraction > 1.5:
            return {"llc": None, "llc_se": None, "v_m": None, "reasons": ["not finite"]}
        return {"llc": TRUTH + bias, "llc_se": 0.1, "v_m": 1 + bias / TRUTH}

    def _interrupt(self):
        raise KeyboardInterrupt

    def _read(self, id: str) -> dict[str, Any] | None:
        if self.folder is None:
            return self.store.get(id)
        path = Path(self.folder) / f"{id}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def _write(self, id: str, record: dict[str, Any]) -> None:
        self.ended.append(id)
        self.store[id] = record
        if self.folder is not None:
            with (Path(self.folder) / "ended.txt").open("a") as file:
                file.write(f"{id}\n")
            (Path(self.folder) / f"{id}.json").write_text(json.dumps(record))
