"""Real data sets that come with scikit-learn, split into training and test by the seed."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lambda_hat_core.config.data import Diabetes, Digits
from lambda_hat_core.streams import stream
from lambda_hat_core.types import Batch

_PIXEL_MAX = 16.0
"""The largest pixel value of scikit-learn's digits."""


def _split(x: np.ndarray, y: np.ndarray, n: int, seed: int) -> tuple[Batch, Batch]:
    order = np.asarray(jr.permutation(stream(seed, "split"), len(x)))
    train, test = order[:n], order[n:]
    return (
        (jnp.asarray(x[train]), jnp.asarray(y[train])),
        (jnp.asarray(x[test]), jnp.asarray(y[test])),
    )


def digits(spec: Digits, seed: int) -> tuple[Batch, Batch]:
    """Return training and test images, pixels in [0, 1], with integer labels."""
    from sklearn.datasets import load_digits

    x, y = (np.asarray(array) for array in load_digits(return_X_y=True))
    return _split(x / _PIXEL_MAX, y.astype(np.int32), spec.n_data, seed)


def diabetes(spec: Diabetes, seed: int) -> tuple[Batch, Batch]:
    """Return training and test patients, standardised with the statistics of the training rows."""
    from sklearn.datasets import load_diabetes

    x, y = (np.asarray(array) for array in load_diabetes(return_X_y=True, scaled=False))
    train, test = _split(x, y[:, None], spec.n_data, seed)
    assert train is not None and test is not None
    shifts = [(part.mean(axis=0), part.std(axis=0)) for part in train]

    def standard(batch: tuple) -> tuple:
        return tuple((part - mean) / sd for part, (mean, sd) in zip(batch, shifts, strict=True))

    return standard(train), standard(test)
