"""The same answers from a PyTorch peer, devinterp 1.3.2, used as its documentation says.

`python bench/peer.py NAME [--draws 500] [--batch 64] [--rates 1e-5,1e-4,1e-3] [--folder DIR]`

Four chains of SGLD at each of three learning rates, among which a user chooses by eye, with
localization 1, n beta = n / log n and no burn-in. One JSON row on stdout has the CPU seconds of the
process, imports included. NAME is a cell of bench/answers.py, whose folder must hold its w*. This
script imports neither JAX nor the product, so its Python is an environment of its own:

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install devinterp==1.3.2

It is no dependency group of the project, because the wheels of PyTorch require exact versions of
NVIDIA's libraries, which are older than those that are locked for JAX.
"""

import argparse
import json
import math
import os
import resource
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from architectures import cell
from devinterp.optim.sgld import SGLD
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from devinterp.utils import evaluate_ce, evaluate_mse
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CHAINS = 4
_IMPORTED = time.process_time()


class Ops:
    """The operations of a forward pass."""

    tanh = staticmethod(torch.tanh)
    einsum = staticmethod(torch.einsum)

    @staticmethod
    def gelu(x: Any) -> Any:
        """Return the tanh form, which is JAX's."""
        return F.gelu(x, approximate="tanh")

    @staticmethod
    def softmax(x: Any) -> Any:
        """Return the softmax over the last axis."""
        return torch.softmax(x, -1)

    @staticmethod
    def convolve(image: Any, kernel: Any) -> Any:
        """Return the convolution, of the size of the image."""
        out = F.conv2d(image.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding="same")
        return out.permute(0, 2, 3, 1)


class Network(nn.Module):
    """An architecture with its parameters."""

    def __init__(self, forward: Any, params: dict[str, np.ndarray]):
        super().__init__()
        self._pass = forward
        self.params = nn.ParameterDict(
            {k: nn.Parameter(torch.tensor(v)) for k, v in params.items()}
        )

    def forward(self, x: Any) -> Any:
        """Return the outputs."""
        return self._pass(Ops, self.params, x)


def answer(name: str, folder: Path, *, draws: int, batch: int, rates: list[float]) -> dict:
    """Return the row of a cell; the llc of a rate at which a loss is NaN is None."""
    made, params, (x, y) = cell(name, folder)
    floating = np.issubdtype(y.dtype, np.floating)
    labels = torch.tensor(y) if floating else torch.tensor(y).long()
    examples = TensorDataset(torch.tensor(x), labels)
    evaluate = evaluate_mse if floating else evaluate_ce
    model = Network(made.forward, params)
    with torch.no_grad():
        loss0 = evaluate(model, examples.tensors)[0].item()
    found: dict[str, float | None] = {}
    for rate in rates:
        loader = DataLoader(examples, batch_size=batch, shuffle=True)
        nbeta = len(x) / math.log(len(x))
        settings = {"lr": rate, "nbeta": nbeta, "localization": 1.0}
        try:
            summary = estimate_learning_coeff_with_summary(
                model, loader, evaluate=evaluate, sampling_method=SGLD, optimizer_kwargs=settings,
                num_chains=CHAINS, num_draws=draws, init_loss=loss0, verbose=False, seed=1,
            )  # fmt: skip
            found[f"{rate:g}"] = float(summary["llc/mean"])
        except RuntimeError as error:
            if not str(error).startswith("NaN detected"):
                raise
            found[f"{rate:g}"] = None
    return {
        "cell": name,
        "n": len(x),
        "draws": CHAINS * draws,
        "batch": batch,
        "loss0": loss0,
        "llc": found,
        "imports": _IMPORTED,
        "seconds": time.process_time(),
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    """Print the row of a cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--draws", type=int, default=500, help="per chain")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rates", default="1e-5,1e-4,1e-3")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "answers")
    given = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    warnings.filterwarnings("ignore", module="devinterp")
    torch.set_num_threads(1)
    rates = [float(rate) for rate in given.rates.split(",")]
    row = answer(given.name, given.folder, draws=given.draws, batch=given.batch, rates=rates)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
