"""How many threads NumPy's linear algebra takes in a call."""

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits


def threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_a_call_takes_one_thread_and_gives_back_the_others():
    from lambda_hat_core import Mala, estimate_llc

    seen = []

    def loss(params, data):
        seen.append(threads())
        return ((data @ params["w"]) ** 2).mean()

    rows = np.random.default_rng(0).normal(size=(50, 2))
    sampler = Mala(n_draws=20, n_warmup=20, n_burn=0)
    with threadpool_limits(limits=3, user_api="blas"):
        estimate_llc(loss, {"w": np.zeros(2)}, rows, sampler=sampler, progress=False)
        assert threads() == {3}
    assert seen and all(found == {1} for found in seen)
