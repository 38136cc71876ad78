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


def test_the_last_of_calls_that_overlap_gives_them_back():
    from lambda_hat_core.linalg.blas import one_blas_thread

    with threadpool_limits(limits=3, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {3}
