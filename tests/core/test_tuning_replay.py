import jax
import numpy as np
import pytest

from tests.core import mixed
from tests.core.test_samplers import MCMC, QUADRATICS, in_float64


@pytest.mark.parametrize("name", ["sgld", "nuts"])
def test_replay_repeats_the_reports_of_the_run(name, monkeypatch):
    from lambda_hat_core.config.samplers.known import SAMPLERS
    from lambda_hat_core.samplers import loop
    from lambda_hat_core.tuning.replay import events

    said = []
    plain = loop.Progress

    def listening(*args, **kwargs):
        said.append(plain(*args, **kwargs))
        return said[-1]

    monkeypatch.setattr(loop, "Progress", listening)
    sampler = {"n_chains": 8, **MCMC[name]}
    with jax.enable_x64(in_float64(name)):
        trace = mixed.run(QUADRATICS["condition 1"], sampler, progress=lambda at: None)
    spec = SAMPLERS[name](**sampler)
    live = [at for at in said if spec.n_burn < at.done < at.total]
    stored = list(events(trace, spec))
    assert len(stored) == len(live) > 10
    for at, event in zip(live, stored, strict=True):
        assert (at.done, at.total) == (event["done"], event["total"])
        for key in ("llc", "llc_se", "v_m", "work_fge"):
            np.testing.assert_allclose(event[key], getattr(at, key), rtol=1e-12)
