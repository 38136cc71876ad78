"""A worker that follows the protocol and stores plausible artifacts without computing anything.

A target or run with seed 13 fails, seed 14 kills the process, and a run with seed 15 hangs the
first time until its parent has ended. Every call is recorded in calls.txt of the store, and what
was made in made.txt; keys are made under leases, as by the real worker. If FAKE_SECONDS is set, a
call takes this long, and spans.txt has its begin and end.
"""

import argparse
import base64
import json
import os
import sys
import time
from pathlib import Path

from lambda_hat_core.config.spec import RunSpec, TargetSpec, Trajectory
from lambda_hat_core.gallery.members import FACTS, Gallery, fingerprint, is_current
from lambda_hat_core.store import failures, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import outcomes
from lambda_hat_core.work.steps import is_trained, missing_steps

META = {"n": 1000, "d": 3, "loss": "own", "loss0": 0.0, "grad_norm": 1e-12, "min_eigenvalue": 1.0}
AUDIT = {"is_minimum": True, "audit_reasons": [], "llc_known": 1.5, "llc_known_reason": "exact"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""One pixel."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    store = Store(parser.parse_args().home)
    tell({"event": "ready", "pid": os.getpid()})
    for line in sys.stdin:
        request = json.loads(line)
        tell({"id": request["id"], "event": "log", "message": "at work"})
        began = time.monotonic()
        time.sleep(float(os.environ.get("FAKE_SECONDS", 0)))
        end = answer(store, request, os.environ["JAX_ENABLE_X64"])
        with (store.root / "spans.txt").open("a") as spans:
            spans.write(f"{request['id']} {began} {time.monotonic()}\n")
        tell({"id": request["id"], **end})


def answer(store: Store, request: dict, x64: str) -> dict:
    kind = request["kind"]
    if kind == "galleries":
        return drawn(store, Gallery(**request["spec"]))
    store.root.mkdir(parents=True, exist_ok=True)
    with (store.root / "calls.txt").open("a") as calls:
        calls.write(f"{request['id']} {kind} {x64}\n")
    if kind == "trajectories":
        return trained(store, Trajectory(**request["spec"]))
    seed = request["spec"]["seed"]
    if kind != "analyses" and seed == 14:
        os.abort()
    if kind == "runs" and seed == 15 and not (store.root / "hung").exists():
        (store.root / "hung").touch()
        parent, end = os.getppid(), time.monotonic() + 600
        while time.monotonic() < end:
            time.sleep(0.1)
            if os.getppid() != parent:
                os._exit(1)
        (store.root / "woke").touch()
    if kind != "analyses" and seed == 13:
        spec = (TargetSpec if kind == "targets" else RunSpec)(**request["spec"])
        failures.write_failure(store, spec, "seed 13 always fails")
        reason = "seed 13 always fails"
        return {"event": "failed", "reason": reason, "cause": "error", "transient": False}
    status = "reused"
    with store.lease(kind, request["id"]):
        if not store.is_complete(kind, request["id"]):
            make(store, kind, request["spec"])
            status = "made"
            with (store.root / "made.txt").open("a") as made_ones:
                made_ones.write(f"{kind} {request['id']}\n")
    record = outcomes.record(store, kind, request["id"])
    return {"event": "done", "status": status, "seconds": 0.0, "record": record}


def trained(store: Store, wanted: Trajectory) -> dict:
    if wanted.spec.seed == 12:
        reason = "seed 12 always diverges"
        failures.write_failure(store, wanted.spec, reason)
        return {"event": "failed", "reason": reason, "cause": "error", "transient": False}
    kept = {*wanted.steps} - missing_steps(store, wanted)
    with store.publish("trajectories", wanted.id, wanted.spec, replace=True) as folder:
        facts = {"d": 3, "n": 1000, "steps": sorted({*wanted.steps} | kept), "train_loss": 0.5}
        (folder / "meta.json").write_text(json.dumps(facts))
    record = outcomes.record(store, "trajectories", wanted.id)
    return {"event": "done", "status": "made", "seconds": 0.0, "record": record}


def drawn(store: Store, gallery: Gallery) -> dict:
    status = "reused"
    with store.lease("galleries", gallery.id):
        if not is_current(store, gallery):
            with store.publish("galleries", gallery.id) as folder:
                draw(store, gallery, folder)
            status = "made"
        record = outcomes.record(store, "galleries", gallery.id)
    return {"event": "done", "status": status, "seconds": 0.0, "record": record}


def draw(store: Store, gallery: Gallery, folder: Path) -> None:
    facts = {"inputs": fingerprint(store, gallery), "n_runs": len(gallery.runs)}
    facts |= {"n_targets": len(gallery.targets), "verdicts": {}, "forests": [], "table": ""}
    (folder / "gamma_profile.png").write_bytes(PNG)
    facts["profiles"] = [{"figure": "gamma_profile.png", "note": "nuts: one plateau"}]
    (folder / "along.png").write_bytes(PNG)
    curve = {"figure": "along.png", "words": "nβ 10", "notes": ["nuts: maximum at step 3"]}
    facts["curves"] = [{"training": id, **curve} for id in gallery.trainings]
    (folder / FACTS).write_text(json.dumps(facts))


def make(store: Store, kind: str, fields: dict) -> None:
    spec = (TargetSpec if kind == "targets" else RunSpec)(**fields)
    with store.publish(kind, spec.id, spec) as folder:
        if kind == "targets":
            of = spec.trajectory
            point = {} if of is None else {"step": spec.step, "trajectory_id": of.id}
            (folder / "meta.json").write_text(json.dumps(META | AUDIT | point))
            if of is not None:
                assert is_trained(store, spec)
                row = records.checkpoint_row(spec, META | point)
                records.write("trajectories", [row], folder / "checkpoint.parquet")
            records.write("targets", [records.target_row(spec, META)], folder / "target.parquet")
        elif kind == "runs":
            facts = {"work_fge": 10.0, "wall_s": 0.1, "loss0": 0.0, "failure": None}
            (folder / "work.json").write_text(json.dumps(facts))
        else:
            (folder / "figures").mkdir()
            (folder / "figures" / "trace.png").write_bytes(PNG)
            row = records.run_row(spec) | {"llc": 1.5, "llc_se": 0.01, "llc_lo": 1.3, "llc_hi": 1.7}
            row |= {
                "verdict": "ok",
                "reasons": [],
                "advice": [],
                "notes": [],
                "r_hat": 1.0,
                "ess_min": 400.0,
                "v_m": 1.0,
            }
            row |= {"work_fge": 10.0, "wall_s": 0.1, "loss0": 0.0, "loss": "own"}
            row |= {"gamma": spec.posterior.gamma, "llc_oracle": 1.5, "nbeta": 100.0}
            draws = {"run_id": [spec.id] * 2, "chain": [0, 1], "llc": [1.5, 1.5], "dist2": [0, 0]}
            records.write("draws", draws, folder / "draws.parquet")
            records.write("llc", [row], folder / "estimate.parquet")
            check = {"name": "finite", "passed": True, "severity": "warn", "text": "it is"}
            row |= {"checks": [check | {"value": None, "threshold": None}]}
            (folder / "estimate.json").write_text(json.dumps(row, default=str))


def tell(event: dict) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main()
