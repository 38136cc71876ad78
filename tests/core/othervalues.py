"""Another value of every field of every model, and what a model or a field needs beside it."""

from lambda_hat_core.config import data, model, tasks
from lambda_hat_core.config.posterior import PosteriorSpec, Prior
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.training import Training

_CHAINS = {
    "setup_rows": 500,
    "n_chains": 2,
    "n_draws": 5000,
    "n_burn": 50,
    "thin": 3,
    "record_rows": 500,
    "until": Until(),
}
_METRIC = {"metric": "identity"}
_ADAPTED = {"n_warmup": 50, "target_acceptance": 0.7}
_BATCHES = {"batch_size": 64, "step_fraction": 0.2, "noise": "philox", "step_size": 0.01}
_CONSTANT = {"damping": 1.0, "extrapolate": False, "gradient": "control_variate"}
_MOMENTS = {
    "beta1": 0.5,
    "beta2": 0.9,
    "eps": 1e-6,
    "bias_correction": False,
    "freeze_preconditioner": False,
}

OTHERS = {
    SAMPLERS["nuts"]: _CHAINS | _METRIC | _ADAPTED | {"max_doublings": 8},
    SAMPLERS["hmc"]: _CHAINS | _METRIC | _ADAPTED | {"n_leapfrog": 4},
    SAMPLERS["tempered"]: _CHAINS
    | {
        "n_warmup": 60,
        "target_acceptance": 0.6,
        "n_replicas": 5,
        "nbeta_min": 1.0,
        "ladder": (10.0, 1.0),
        "kernel": "mala",
        "n_leapfrog": 2,
    },
    SAMPLERS["mala"]: _CHAINS | _METRIC | _ADAPTED | {"step_size": 0.1},
    SAMPLERS["mclmc"]: _CHAINS
    | _METRIC
    | {
        "n_tune": 500,
        "desired_energy_var": 1e-3,
        "integrator": "isokinetic_velocity_verlet",
        "L": 2.0,
        "step_size": 0.1,
    },
    SAMPLERS["adjusted_mclmc"]: _CHAINS | _METRIC | {"n_tune": 500, "target_acceptance": 0.8},
    SAMPLERS["sgld"]: _CHAINS
    | _BATCHES
    | _CONSTANT
    | _MOMENTS
    | {"precond": "rmsprop", "integrator": "euler"},
    SAMPLERS["sghmc"]: _CHAINS | _BATCHES | _CONSTANT | {"precond": "none", "alpha": 0.2},
    SAMPLERS["sgnht"]: _CHAINS | _BATCHES | _CONSTANT | {"precond": "none", "alpha": 0.2},
    SAMPLERS["vi"]: {
        "setup_rows": 500,
        "until": Until(),
        "algo": "flow",
        "n_chains": 2,
        "n_draws": 500,
        "steps": 100,
        "batch_size": 32,
        "n_samples": 2,
        "lr": 0.1,
        "lr_schedule": "constant",
        "lr_warmup_frac": 0.1,
        "clip_global_norm": 1.0,
        "whitening": "adam",
        "whitening_decay": 0.9,
        "M": 1,
        "r": 2,
        "r_per_component": (1, 1, 1, 2),
        "tie_means": True,
        "alpha_dirichlet_prior": 2.0,
        "entropy_bonus": 0.1,
        "alpha_temperature": 2.0,
        "hvp_control_variate": False,
        "d_latent": 4,
        "flow_type": "maf",
        "flow_depth": 2,
        "flow_hidden": 8,
        "tensorboard": True,
    },
    Until: {"rel_se": 0.1, "max_fge": 100.0, "max_draws": 100},
    PosteriorSpec: {
        "loss": "mse",
        "beta_mode": "fixed",
        "beta0": 2.0,
        "nbeta": 50.0,
        "gamma": 2.0,
        "prior_radius": 3.0,
        "sigma": 0.5,
        "restrict": ("head.*",),
        "prior": Prior(precision=0.5),
    },
    Prior: {"precision": 2.0},
    Training: {
        "loss": "mse",
        "start": "truth",
        "optimizer": "adamw",
        "lr": 0.1,
        "steps": 10,
        "batch_size": 10,
        "weight_decay": 0.1,
        "polish": "none",
        "polish_steps": 10,
        "grad_tol": 1e-6,
        "schedule": "constant",
        "l2": 0.1,
        "init_scale": 0.1,
    },
    data.Synthetic: {
        "n_data": 10,
        "n_test": 10,
        "x_dist": "mixture",
        "cov_decay": 0.5,
        "mixture_k": 2,
        "mixture_spread": 1.0,
        "x_dim_latent": 3,
        "noise_model": "hetero",
        "noise_scale": 0.2,
        "hetero_scale": 0.2,
        "student_df": 5.0,
        "heavy_tail_df": 5.0,
        "outlier_frac": 0.1,
        "outlier_scale": 1.0,
    },
    data.Digits: {"n_data": 10},
    data.Diabetes: {"n_data": 10},
    data.NoData: {"n_data": 10},
    tasks.Modular: {"p": 7, "operation": "multiply", "train_fraction": 0.5, "split_seed": 1},
    tasks.SparseFeatures: {"n_data": 10, "n_test": 10, "features": 5, "sparsity": 0.9},
    tasks.Induction: {
        "n_data": 10,
        "n_test": 10,
        "vocabulary": 20,
        "context": 20,
        "min_period": 5,
        "max_period": 7,
        "scored": "all",
    },
    tasks.IclRegression: {
        "n_data": 10,
        "n_test": 10,
        "dim": 2,
        "examples": 4,
        "noise_scale": 0.1,
        "tasks": 8,
    },
    data.Teacher: {
        "depth": 3,
        "widths": (3, 3),
        "target_params": 90,
        "hidden": 3,
        "activation": "tanh",
        "dropout_rate": 0.1,
    },
    model.Mlp: {
        "in_dim": 3,
        "out_dim": 2,
        "depth": 3,
        "widths": (3, 4),
        "target_params": 90,
        "hidden": 3,
        "activation": "tanh",
        "bias": False,
        "layernorm": True,
        "skip_connections": True,
        "residual_period": 1,
    },
    model.ModularMlp: {"embedding": 4, "hidden": 8},
    model.Superposition: {"hidden": 3, "polygon": 5},
    model.Transformer: {
        "n_layers": 1,
        "n_heads": 4,
        "d_model": 16,
        "d_mlp": 8,
        "tied": True,
        "layer_norm": True,
    },
    model.DeepLinear: {"widths": (3, 5, 3), "rank": 1},
    model.QuadraticActivation: {"in_dim": 4, "width": 4, "rank": 1},
    model.DiagonalLinear: {"in_dim": 4, "depth": 3, "n_zero": 1},
    model.Quadratic: {
        "spectrum": (1.0, 2.0),
        "d": 4,
        "condition": 10.0,
        "h_max": 2.0,
        "rank": 2,
        "rotate": False,
    },
    model.NormalCrossing: {"powers": (2, 1), "point": (1.0, 0.0)},
    model.Custom: {
        "factory": "b:f",
        "kwargs": {"k": 1},
        "files": ("table.csv",),
        "source_sha256": "0" * 64,
        "checkpoints": "run7/step_*.npz",
        "checkpoint_sha256": "0" * 64,
    },
}
"""Another value of every field but `kind`, and `mean`, which has one value only."""

REQUIRED = {
    model.DeepLinear: {"widths": (3, 4, 3), "rank": 2},
    model.QuadraticActivation: {"in_dim": 3, "width": 3, "rank": 2},
    model.DiagonalLinear: {"in_dim": 3},
    model.NormalCrossing: {"powers": (1, 1)},
    model.Custom: {"factory": "a:f"},
    Prior: {"precision": 1.0},
}

NEEDS = {(PosteriorSpec, "sigma"): {"loss": "gaussian"}}
"""Fields with a requirement of another kind than `When`."""
