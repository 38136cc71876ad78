"""The virial certificate on a singular network: 1 for NUTS, and above it for steps that heat."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

WIDTHS, RANK, N, GAMMA = (6, 6, 6, 6), 3, 2000, 10.0


@functools.cache
def deep_linear():
    """Balanced weights of a rank-3 product, which is the truth, and its noisy examples."""
    from lambda_hat_core.networks.deeplinear import DeepLinear

    network = DeepLinear(WIDTHS)
    rng = np.random.default_rng(0)
    product = rng.normal(size=(6, RANK)) @ rng.normal(size=(RANK, 6)) / math.sqrt(6 * RANK)
    x = rng.normal(size=(N, 6))
    w0 = jax.jit(lambda product: network.factor(product, RANK))(product)
    return network, w0, (x, x @ product + 0.1 * rng.normal(size=(N, 6)))


def run(sampler):
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.losses import Supervised
    from lambda_hat_core.posterior import localised
    from lambda_hat_core.samplers import sample
    from lambda_hat_core.target import Target

    network, w0, data = deep_linear()
    target = Target(w0, tuple(map(jnp.asarray, data)), Supervised(network, "mse"), N)
    spec = PosteriorSpec(gamma=GAMMA)
    run = RunSpec(target="tgt_000000000000", sampler=sampler, posterior=spec, dtype="float64")
    return sample(localised(target, spec), run)


def test_the_certificate_is_one_for_nuts_and_grows_with_the_error_of_sgld(x64):
    nuts = run({"kind": "nuts", "n_chains": 8, "n_warmup": 100, "n_draws": 300, "n_burn": 20})
    v_m = nuts.virial_m.mean(axis=1)
    assert v_m.std(ddof=1) / math.sqrt(8) < 0.017
    assert abs(v_m.mean() - 1) < 0.05
    answer = nuts.llc.mean()

    lengths = {"kind": "sgld", "n_chains": 8, "n_draws": 400, "n_burn": 50, "thin": 8}
    lengths["batch_size"] = 8
    auto = run(lengths)
    step = auto.info["step_size"]
    hotter = [run({**lengths, "step_size": factor * step}) for factor in (2.7, 8.0)]
    excess, certificate, foretold = [], [], []
    for trace in (auto, *hotter):
        excess.append(trace.llc.mean() / answer - 1)
        certificate.append(trace.virial_m.mean() - 1)
        foretold.append(trace.info["ledger"]["error"]["relative"])
    assert 0.4 < excess[2]
    assert excess[0] < excess[1] < excess[2]
    assert 0.5 * excess[1] < foretold[1] < 1.5 * excess[1]
    assert 0.1 < certificate[2]
    assert certificate[0] < certificate[1] < certificate[2]
