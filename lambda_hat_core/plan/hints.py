"""What to write instead of a key that other tools, or the forerunner of this one, use."""

from pydantic import BaseModel

from lambda_hat_core.config.data import Synthetic, Teacher
from lambda_hat_core.config.model import Mlp
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import SAMPLERS
from lambda_hat_core.config.training import Training

_BUDGET = "write n_draws (draws a chain) and thin (kernel steps a draw): steps = n_draws * thin"
_BURN = "write n_burn, the first draws of each chain that are dropped, counted in draws"
_WARMUP = "write n_warmup, adaptation steps before any draw"
_CHAINS = "write n_chains"
_DRAWS = "write n_draws"
_THIN = "write thin, kernel steps a draw (every draw records the full-data loss)"
_ENTRY_DTYPE = "write dtype: float32 or float64 beside name, or dtype= of estimate_llc"
_ENTRY_SEED = "write seed beside name, or seed= of estimate_llc"
_POSTERIOR = (
    "write it in posterior: of the experiment or of this entry, or posterior= of estimate_llc"
)
_REMOVE = "remove it"

_ANY_SAMPLER = {
    "dtype": _ENTRY_DTYPE,
    "dtype64": _ENTRY_DTYPE,
    "seed": _ENTRY_SEED,
    "gamma": _POSTERIOR,
    "beta": "write posterior: {beta_mode: fixed, beta0: ...}",
    "beta0": _POSTERIOR,
    "beta_mode": _POSTERIOR,
    "nbeta": _POSTERIOR,
    "prior_radius": _POSTERIOR,
    "loss": _POSTERIOR,
    "posterior": "write posterior beside name, not in overrides",
    "chains": _CHAINS,
    "num_chains": _CHAINS,
    "draws": _DRAWS,
    "num_draws": _DRAWS,
    "num_samples": _DRAWS,
    "thinning": _THIN,
    "eval_every": _THIN,
    "record_every": _THIN,
    "batch": "write batch_size",
    "chunk_length": _REMOVE + ": it changes no number",
}

_FULL_BATCH = {
    "warmup": _WARMUP,
    "num_warmup": _WARMUP,
    "steps": "write n_draws and thin",
    "batch_size": _REMOVE + ": this sampler follows full-data gradients",
    "target_accept": "write target_acceptance",
    "inverse_mass_matrix": "write metric: identity, diagonal or lanczos",
    "diagonal_preconditioning": "write metric: diagonal",
}

_TUNED_MCLMC = {
    "warmup": "write n_tune, the steps that find L and the step size",
    "num_warmup": "write n_tune, the steps that find L and the step size",
    "num_steps": "write n_tune, the steps that find L and the step size",
    "frac_tune1": _REMOVE + " and set n_tune",
    "frac_tune2": _REMOVE + " and set n_tune",
    "frac_tune3": _REMOVE + " and set n_tune",
    "trust_in_estimate": _REMOVE,
    "num_effective_samples": _REMOVE,
    "trajectory_length": "write L",
    "num_integration_steps": "write L, the distance over which momentum decoheres",
}

_STOCHASTIC = {
    "steps": _BUDGET,
    "num_steps": _BUDGET,
    "warmup": _BURN,
    "num_warmup": _BURN,
    "eta0": "write step_size",
    "lr": "write step_size",
    "precond_type": "write precond",
    "temperature": "write beta0 in posterior:",
}

_SAMPLERS: dict[str, dict[str, str]] = {
    "nuts": _FULL_BATCH
    | {
        "step_size": _REMOVE + ": it is adapted to target_acceptance",
        "max_tree_depth": "write max_doublings",
        "max_num_doublings": "write max_doublings",
    },
    "hmc": _FULL_BATCH
    | {
        "num_integration_steps": "write n_leapfrog, the mean number of leapfrog steps a draw",
        "step_size": _REMOVE + ": it is adapted to target_acceptance",
        "adapt_step_size": _REMOVE + ": the step size is always adapted",
        "max_tree_depth": _REMOVE + ", or use the sampler nuts and its max_doublings",
    },
    "mala": _FULL_BATCH,
    "mclmc": _FULL_BATCH | _TUNED_MCLMC,
    "adjusted_mclmc": _FULL_BATCH
    | _TUNED_MCLMC
    | {
        "desired_energy_var": _REMOVE + ": this sampler is tuned to target_acceptance",
        "L": _REMOVE + ": it is tuned",
        "step_size": _REMOVE + ": it is tuned to target_acceptance",
    },
    "sgld": _STOCHASTIC,
    "sghmc": _STOCHASTIC
    | {
        "num_integration_steps": _REMOVE + ": momentum is replaced continuously, see alpha",
        "n_leapfrog": _REMOVE + ": momentum is replaced continuously, see alpha",
    },
    "sgnht": _STOCHASTIC,
    "vi": {
        "eval_samples": "write n_draws, the independent draws a restart at evaluation",
        "eval_every": _REMOVE + ": every step is traced",
        "whitening_mode": "write whitening",
        "use_whitening": "write whitening: rmsprop or adam",
        "n_burn": _REMOVE + ": its draws are independent",
        "warmup": "write lr_warmup_frac",
        "sigma_perp": _REMOVE + ": the scale off the flow's directions is learned",
        "hidden": "write flow_hidden",
        "depth": "write flow_depth",
    },
}

_DEVICE = "choose a compute card with LAMBDA_HAT_CARD"

_HINTS: dict[str, dict[str, str]] = {
    "experiment": {
        "store_root": "set the environment variable LAMBDA_HAT_HOME",
        "jax_enable_x64": "write dtype: float32 or float64 in a sampler's entry",
        "enable_x64": "write dtype: float32 or float64 in a sampler's entry",
        "name": "write experiment: <name>",
        "target": "write targets: and a list",
        "sampler": "write samplers: and a list",
        "seed": "write seed in each entry of targets and samplers",
        "training": "write training in each entry of targets",
        "backend": _DEVICE,
        "parsl": _DEVICE,
        "parsl_card": _DEVICE,
        "defaults": _REMOVE + ": presets are named in the entries of targets and samplers",
    },
    "target": {
        "name": "name the presets: model, data, teacher, training",
        "target": "write model: {kind: ...}",
        "kind": "write model: {kind: ...}",
        "quad_dim": "write model: {kind: quadratic, d: ...}",
        "loss": "write posterior: {loss: ...} for the experiment, or training: {loss: ...}",
        "posterior": "write it for the experiment, or in an entry of samplers",
        "dtype": _REMOVE + ": targets are built in float64",
    },
    "sampler entry": {
        "kind": "write name",
        "sampler": "write name",
        "algo": "write overrides: {algo: ...}",
    },
    "model": {
        "init": _REMOVE,
        "quad_dim": "write d",
        "hidden_dim": "write hidden, or widths",
        "hidden_dims": "write widths",
        "layers": "write widths",
        "dtype": _REMOVE + ": targets are built in float64",
    },
    "data": {
        "n": "write n_data",
        "n_train": "write n_data",
        "seed": "write seed in the target's entry",
        "sigma": "write noise_scale",
    },
    "teacher": {
        "init": _REMOVE,
        "seed": "write seed in the target's entry",
        "dropout": "write dropout_rate",
        "bias": _REMOVE + ": a teacher has biases where its student has",
        "in_dim": "write model.in_dim: student and teacher see the same inputs",
        "out_dim": "write model.out_dim: student and teacher have the same outputs",
    },
    "training": {
        "early_stop_tol": "write grad_tol, where the polish stops",
        "eval_every": _REMOVE,
        "learning_rate": "write lr",
        "epochs": "write steps",
        "batch": "write batch_size",
        "seed": "write seed in the target's entry",
        "dtype": _REMOVE + ": targets are built in float64",
    },
    "posterior": {
        "beta": "write beta_mode: fixed and beta0",
        "noise_scale": "write sigma",
        "localization": "write gamma",
        "temperature": "write beta0",
    },
} | {name: _ANY_SAMPLER | own for name, own in _SAMPLERS.items()}


_BENEATH: dict[str, dict[str, type[BaseModel]]] = {
    "target": {"model": Mlp, "data": Synthetic, "teacher": Teacher, "training": Training},
    "sampler entry": dict(SAMPLERS),
    "experiment": {"posterior": PosteriorSpec},
}
"""Whose keys are sometimes written one level too high."""


def hint(group: str, key: str) -> str | None:
    """Return what to write instead of `key` of a group or sampler, where that is known."""
    if key in _HINTS.get(group, {}):
        return _HINTS[group][key]
    homes = [name for name, model in _BENEATH.get(group, {}).items() if key in model.model_fields]
    if group == "sampler entry":
        homes += [name for name in SAMPLERS if key in _HINTS[name]]
        return f"write overrides: {{{key}: ...}}" if homes else None
    if group == "target" and homes:
        return f"write overrides: {{{homes[0]}.{key}: ...}}"
    return f"write {homes[0]}: {{{key}: ...}}" if homes else None
