"""The history of a fit as TensorBoard scalars."""

import math
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from lambda_hat_core.samplers.trace import Trace

_POINTS = 500
"""Most points per curve; the last step is always among them."""


def write_tensorboard(trace: Trace, folder: Path) -> None:
    """Write one sub-folder of events per restart: `vi/<name>` for every (restart, step) extra.

    Scalars of a whole restart (k-hat, the final ELBO) are written at the last step.

    Raises:
        ValueError: if the trace is not of a variational run.
    """
    if "elbo" not in trace.extras:
        raise ValueError(
            f"the trace of {trace.info.get('sampler')} has no ELBO to write; only vi has one"
        )
    restarts, steps = trace.extras["elbo"].shape
    shown = np.arange(steps - 1, -1, -max(1, math.ceil(steps / _POINTS)))[::-1]
    for restart in range(restarts):
        with SummaryWriter(str(folder / f"restart_{restart}")) as writer:
            for name, values in trace.extras.items():
                if values.shape == (restarts, steps):
                    for step in shown.tolist():
                        writer.add_scalar(f"vi/{name}", float(values[restart, step]), step)
                elif values.shape == (restarts,):
                    writer.add_scalar(f"vi/{name}", float(values[restart]), steps)
