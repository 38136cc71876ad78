import numpy as np
import pytest

from tests.core.test_resume import sample
from tests.core.test_samplers import MCMC


@pytest.mark.parametrize("name", ["sgld", "nuts"])
def test_replay_is_what_was_reported(name, x64, monkeypatch):
    from lambda_hat_core.config.samplers import SAMPLERS
    from lambda_hat_core.samplers import drive
    from lambda_hat_core.tuning.replay import events

    said = []
    plain = drive.Progress

    def listening(*args, **kwargs):
        said.append(plain(*args, **kwargs))
        return said[-1]

    monkeypatch.setattr(drive, "Progress", listening)
    trace, _ = sample(name, None)
    spec = SAMPLERS[name](**{"n_chains": 8, **MCMC[name]})
    live = [at for at in said if spec.n_burn < at.done < at.total]
    stored = list(events(trace, spec))
    assert len(stored) == len(live) > 10
    for at, event in zip(live, stored, strict=True):
        assert (at.done, at.total) == (event["done"], event["total"])
        for key in ("llc", "llc_se", "v_m", "work_fge"):
            np.testing.assert_allclose(event[key], getattr(at, key), rtol=1e-12)
