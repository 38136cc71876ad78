"""A worker whose numerics are replaced by a few lines, for tests of everything around them."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.work import making, outcomes, worker

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
    return outcomes.Outcome(spec.id, "made", 0.5, record)


def sample_run(store, spec, target, log, progress):
    progress(SimpleNamespace(_asdict=lambda: {"done": 1, "total": 2}))
    from lambda_hat_core import precision

    precision.require(spec.dtype)
    return outcomes.Outcome(spec.id, "made", 0.5, {})


class FakeLoss:
    has_per_example = False

    def mean(self, w, batch):
        return 0.0 * w.sum()

    def per_example(self, w, batch):
        raise NotImplementedError


class FakeTargets(ModuleType):
    """Fake targets with three parameters, built immediately; seed 9 cannot be built."""

    @staticmethod
    def build(spec, log, checkpoint=None):
        log(f"building {spec.id}")
        if spec.seed == 9:
            raise FloatingPointError("the training loss is not finite")
        return spec

    @staticmethod
    def save(built, folder):
        meta = {"n": 1000, "d": 3, "label": "fake", "loss": "own", "loss0": 0.0, "grad_norm": 0.0}
        meta |= {"llc_known": 1.5, "llc_known_reason": "quadratic", "is_minimum": True}
        meta |= {"off_centre_bias": 0.0, "min_eigenvalue": 1.0, "audit_reasons": []}
        (folder / "meta.json").write_text(json.dumps(meta))

    @staticmethod
    def load(spec, folder, posterior):
        import jax.numpy as jnp

        from lambda_hat_core.posterior import Target

        return Target(jnp.zeros(3), None, FakeLoss(), 1000)

    @staticmethod
    def load_observed(spec, folder, posterior, observables):
        return FakeTargets.load(spec, folder, posterior), ()

    @staticmethod
    def oracle(spec, target, nbeta, gamma, prior=0.0):
        from lambda_hat_core.truth.exact import Exact

        return Exact(1.5, None, "quadratic")


def fake_sample(posterior, spec, *, progress, log, checkpoint, metric=None, observables=()):
    """Return independent draws; seed 13 gives a non-finite number, and seed 14 an error."""
    from lambda_hat_core.samplers.drive import Progress
    from lambda_hat_core.samplers.trace import Trace

    if spec.seed == 14:
        raise RuntimeError("a bug")
    if spec.seed == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    if "SLOW" in os.environ:
        Path(os.environ["SLOW"]).touch()
        time.sleep(60)
    rng = np.random.default_rng(spec.seed)
    chains, draws = spec.sampler.n_chains, spec.sampler.n_draws - spec.sampler.n_burn
    loss = rng.gamma(1.5, size=(chains, draws)) / 100
    if spec.seed == 13:
        loss[0, -1] = np.nan
    progress(Progress(draws, draws, 100.0, 0.0, 1.5, 0.1, 1.0, float(draws)))
    return Trace(
        loss=loss,
        dist2=rng.gamma(1.5, size=(chains, draws)),
        projections=rng.normal(size=(chains, draws, 4)),
        virial=None,
        virial_m=1 + 0.01 * rng.normal(size=(chains, draws)),
        cumulative_fge=np.arange(1.0, draws + 1),
        seconds=np.arange(1.0, draws + 1),
        stats={},
        loss0=0.0,
        nbeta=100.0,
        gamma=1.0,
        n=1000,
        d=3,
        work={"sampling": float(draws)},
        seconds_total=1.0,
        info={"step_size": 0.1},
        failure="the loss is not finite" if spec.seed == 13 else None,
    )


def fake_expected(posterior, sampler, *, audited):
    """Return the seconds of every run."""
    return 1.0


def install():
    """Replace the functions that `making` calls by the fakes."""
    import lambda_hat_core
    from lambda_hat_core import sample
    from lambda_hat_core.analysis.figures import run as figures
    from lambda_hat_core.work import timing

    timing.expected = fake_expected
    fake = FakeTargets("lambda_hat_core.targets")
    sys.modules[fake.__name__] = lambda_hat_core.targets = fake
    sample.sample = fake_sample
    figures.draw_figures = lambda trace, found, folder, **rest: []


if __name__ == "__main__":
    if os.environ.get("FAKE") == "numerics":
        install()
    else:
        making.build_target, making.sample_run = build_target, sample_run
    sys.exit(worker.main())
