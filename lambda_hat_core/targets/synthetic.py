"""Synthetic examples: inputs from a distribution, and labels from a truth plus noise."""

from typing import assert_never

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.data import Synthetic


def inputs(spec: Synthetic, law: PRNGKeyArray, rows: PRNGKeyArray, dim: int) -> Float[Array, "n p"]:
    """Draw training, then test inputs with `dim` coordinates from one distribution.

    The parameters of the distribution are themselves drawn with the key `law`.

    gauss_iso: N(0, I).  gauss_aniso: var_i = cov_decay^i.  mixture: k centres on a sphere, unit
    noise.  lowdim_manifold: tanh(Z A), Z and A normal.  heavy_tail: rows of a multivariate t.
    """
    total = spec.n_data + spec.n_test
    match spec.x_dist:
        case "gauss_iso":
            x = jr.normal(rows, (total, dim))
        case "gauss_aniso":
            x = jr.normal(rows, (total, dim)) * spec.cov_decay ** (0.5 * jnp.arange(dim))
        case "mixture":
            centres = jr.normal(law, (spec.mixture_k, dim))
            centres /= jnp.linalg.norm(centres, axis=1, keepdims=True)
            which_key, noise_key = jr.split(rows)
            which = jr.randint(which_key, (total,), 0, spec.mixture_k)
            x = spec.mixture_spread * centres[which] + jr.normal(noise_key, (total, dim))
        case "lowdim_manifold":
            mixing = jr.normal(law, (spec.x_dim_latent, dim))
            x = jnp.tanh(jr.normal(rows, (total, spec.x_dim_latent)) @ mixing)
        case "heavy_tail":
            normal_key, scale_key = jr.split(rows)
            df = spec.heavy_tail_df
            scale = jr.chisquare(scale_key, df, (total, 1)) / df
            x = jr.normal(normal_key, (total, dim)) / jnp.sqrt(scale)
        case _:
            assert_never(spec.x_dist)
    return x


def noise(
    spec: Synthetic, key: PRNGKeyArray, x: Float[Array, "n p"], outputs: int
) -> Float[Array, "n q"]:
    """Draw label noise.

    gauss: sd noise_scale.  hetero: sd noise_scale (1 + hetero_scale |x|).  student_t: noise_scale
    times a t variate.  outliers: gauss, but N(0, outlier_scale^2) with probability outlier_frac.
    """
    shape = (x.shape[0], outputs)
    match spec.noise_model:
        case "gauss":
            return spec.noise_scale * jr.normal(key, shape)
        case "hetero":
            scale = 1 + spec.hetero_scale * jnp.linalg.norm(x, axis=1, keepdims=True)
            return spec.noise_scale * scale * jr.normal(key, shape)
        case "student_t":
            return spec.noise_scale * jr.t(key, spec.student_df, shape)
        case "outliers":
            which_key, noise_key = jr.split(key)
            wild = jr.bernoulli(which_key, spec.outlier_frac, shape)
            return jnp.where(wild, spec.outlier_scale, spec.noise_scale) * jr.normal(
                noise_key, shape
            )
        case _:
            assert_never(spec.noise_model)


def dropout(key: PRNGKeyArray, rate: float, labels: Float[Array, "n q"]) -> Float[Array, "n q"]:
    """Set a random fraction `rate` of the labels to 0 and scale up the others to keep the mean."""
    if rate == 0:
        return labels
    return jnp.where(jr.bernoulli(key, 1 - rate, labels.shape), labels / (1 - rate), 0.0)
