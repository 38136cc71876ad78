"""What a gradient of a PyTorch module costs in JAX, beside the same network written in JAX.

`uv sync --extra torch`, then `python -m bench.modules [--rounds N]`. Each network is measured in
float32, alternately in both forms and in PyTorch itself, and the fastest of the rounds counts.
Beside it are the ratios of the operations and of the bytes that the compiled programs take.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch

from lambda_hat_core.torch import from_torch
from tests.torch.pairs import cnn, encoder, gpt, mlp

BAR = 1.3
"""Largest ratio of a module's time to that of its twin."""

PAIRS = {
    "mlp": lambda: mlp((64, 128, 128, 10), rows=256),
    "cnn": lambda: cnn(channels=16, rows=64),
    "encoder": lambda: encoder(width=64, heads=4, rows=32),
    "gpt": lambda: gpt(tokens=64, length=32, width=64, rows=16),
}


def seconds(call, calls):
    began = time.perf_counter()
    for _ in range(calls):
        done = call()
    jax.block_until_ready(done)
    return (time.perf_counter() - began) / calls


def measure(name, rounds):
    pair = PAIRS[name]()
    apply, params = from_torch(pair.module, pair.example)
    inputs = jnp.asarray(pair.example.numpy())
    params = {k: jnp.asarray(v) for k, v in params.items()}
    buffers = {k: jnp.asarray(v) for k, v in apply.buffers.items()}
    forms = {
        "torchax": jax.jit(jax.grad(lambda p: jnp.mean(apply(p, inputs) ** 2))),
        "jax": jax.jit(jax.grad(lambda p: jnp.mean(pair.twin(p, buffers, inputs) ** 2))),
    }
    module = pair.module.eval()

    def by_torch():
        module.zero_grad(set_to_none=True)
        (module(pair.example) ** 2).mean().backward()
        return 0

    calls = {form: lambda f=f: f(params) for form, f in forms.items()} | {"torch": by_torch}
    for call in calls.values():
        seconds(call, 1)
    best = dict.fromkeys(calls, np.inf)
    for _ in range(rounds):
        for form, call in calls.items():
            best[form] = min(best[form], seconds(call, max(3, int(0.1 / seconds(call, 2)))))
    a, b = forms["torchax"](params), forms["jax"](params)
    scale = max(float(jnp.abs(b[k]).max()) for k in b)
    off = max(float(jnp.abs(a[k] - b[k]).max()) for k in b) / scale
    costs = [form.lower(params).compile().cost_analysis() for form in forms.values()]
    flops, moved = (costs[0][key] / costs[1][key] for key in ("flops", "bytes accessed"))
    return best, off, (flops, moved)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    worst = 0.0
    print("| network | flops | bytes | module, us | twin, us | ratio | torch, us | gradients |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in PAIRS:
        best, off, (flops, moved) = measure(name, rounds)
        ratio = best["torchax"] / best["jax"]
        worst = max(worst, ratio)
        times = f"{1e6 * best['torchax']:.0f} | {1e6 * best['jax']:.0f} | {ratio:.2f}"
        rest = f"{1e6 * best['torch']:.0f} | {off:.1e}"
        print(f"| {name} | {flops:.2f} | {moved:.2f} | {times} | {rest} |", flush=True)
    print(f"largest ratio {worst:.2f}, bar {BAR}")
    sys.exit(worst > BAR)


if __name__ == "__main__":
    main()
