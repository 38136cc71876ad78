"""A worker whose numerics are replaced by a few lines, for tests of everything around them."""

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lambda_hat_core import stages, worker
from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import Sgld
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.errors import ConfigError

ARGV = [sys.executable, "-m", "tests.core.fake_numerics"]


def target(seed=0):
    return TargetSpec(model=Quadratic(d=3), data=NoData(), seed=seed)


def run(seed=0, dtype="float32"):
    return RunSpec(
        target=target().id,
        sampler=Sgld(n_draws=20, n_burn=10),
        posterior=PosteriorSpec(loss="own"),
        seed=seed,
        dtype=dtype,
    )


def build_target(store, spec, log):
    log(f"building {spec.id}")
    print("printed by a library")
    os.write(1, b"written to fd 1\n")
    match spec.seed:
        case 1:
            raise ConfigError("x.yaml: model is wrong; mend it")
        case 2:
            raise RuntimeError("two\nlines")
        case 3:
            os.kill(os.getpid(), signal.SIGKILL)
        case 4:
            os._exit(7)
        case 5:
            Path(os.environ["STARTED"]).touch()
            time.sleep(60)
        case 6:
            raise OSError("the disk went away")
        case 7:
            os.kill(os.getpid(), signal.SIGSEGV)
    record = {"pid": os.getpid(), "nan": float("nan"), "numpy": np.float32(1.5)}
    return stages.Outcome(spec.id, "made", 0.5, record)


def sample_run(store, spec, target, log, progress):
    progress(SimpleNamespace(_asdict=lambda: {"done": 1, "total": 2}))
    from lambda_hat_core import precision

    precision.require(spec.dtype)
    return stages.Outcome(spec.id, "made", 0.5, {})


if __name__ == "__main__":
    stages.build_target, stages.sample_run = build_target, sample_run
    sys.exit(worker.main())
