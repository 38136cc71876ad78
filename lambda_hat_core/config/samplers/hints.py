"""What to write instead of sampler keys that other tools, or older versions, use."""

_BUDGET = "write n_draws (draws per chain) and thin (kernel steps per draw): steps = n_draws * thin"
_BURN = "write n_burn, the first draws of each chain that are discarded, counted in draws"
_WARMUP = "write n_warmup, adaptation steps before any draw"
_CHAINS = "write n_chains"
_DRAWS = "write n_draws"
_THIN = "write thin, kernel steps per draw (every draw records the full-data loss)"
_ENTRY_DTYPE = "write dtype: float32 or float64 beside name, or dtype= of estimate_llc"
_ENTRY_SEED = "write seed beside name, or seed= of estimate_llc"
_POSTERIOR = (
    "write it in posterior: of the experiment or of this entry, or posterior= of estimate_llc"
)
REMOVE = "remove it"
_PULL = "write gamma in posterior:, the strength of the pull towards w*"
NO_BOX = (
    "write prior_radius in posterior:, the scale of a Gaussian around w*. There is no box: the "
    "certificate does not hold at its walls"
)
NOISE = (
    ", which is 1 / noise_level^2, and multiply gamma by that too: the noise itself is that of the "
    "posterior"
)
_CHOOSE = "write restrict in posterior:, a list of the parameters that are sampled"
_CARD = REMOVE + ": the card that LAMBDA_HAT_CARD selects says where and how wide runs are computed"

ANY = {
    "localization": _PULL,
    "localisation": _PULL,
    "elasticity": _PULL,
    "weight_decay": "write prior: {precision: ...} in posterior:, nbeta times a decay of the loss",
    "temperature": "write beta0, which is 1 / temperature, in posterior:",
    "inverse_temperature": "write beta0 in posterior:",
    "noise_level": "write beta0 in posterior:" + NOISE,
    "bounding_box_size": NO_BOX,
    "optimize_over": _CHOOSE,
    "optimize_over_per_model_param": _CHOOSE,
    "param_masks": _CHOOSE,
    "num_burnin_steps": "write n_burn, counted in draws: kernel steps / thin",
    "num_steps_bw_draws": _THIN,
    "init_loss": REMOVE + ": the loss at w* is computed over all examples",
    "init_seed": _ENTRY_SEED,
    "sampling_method": "write name beside overrides: sgld, sghmc, sgnht, ...",
    "cores": _CARD,
    "device": _CARD,
    "num_workers": _CARD,
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
    "chunk_length": REMOVE + ": it changes no number",
}

_BATCH = "write batch_size, the examples of one gradient"
_FULL = REMOVE + ": this sampler uses full-data gradients"

FULL_BATCH = ANY | {
    "batch": _FULL,
    "grad_accum_steps": _FULL,
    "gradient_accumulation_steps": _FULL,
    "warmup": _WARMUP,
    "num_warmup": _WARMUP,
    "steps": "write n_draws and thin",
    "batch_size": _FULL,
    "target_accept": "write target_acceptance",
    "inverse_mass_matrix": "write metric: identity, diagonal or lanczos",
    "diagonal_preconditioning": "write metric: diagonal",
}

_TUNED_MCLMC = {
    "warmup": "write n_tune, the tuning steps, which determine L and the step size",
    "num_warmup": "write n_tune, the tuning steps, which determine L and the step size",
    "num_steps": "write n_tune, the tuning steps, which determine L and the step size",
    "frac_tune1": REMOVE + " and set n_tune",
    "frac_tune2": REMOVE + " and set n_tune",
    "frac_tune3": REMOVE + " and set n_tune",
    "trust_in_estimate": REMOVE,
    "num_effective_samples": REMOVE,
    "trajectory_length": "write L",
    "num_integration_steps": "write L, the distance over which momentum decoheres",
}

STOCHASTIC = ANY | {
    "batch": _BATCH,
    "grad_accum_steps": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "steps": _BUDGET,
    "num_steps": _BUDGET,
    "warmup": _BURN,
    "num_warmup": _BURN,
    "eta0": "write step_size",
    "epsilon": "write step_size",
    "lr": "write step_size",
    "learning_rate": "write step_size",
    "precond_type": "write precond",
}

NUTS = FULL_BATCH | {
    "step_size": REMOVE + ": it is adapted to target_acceptance",
    "max_tree_depth": "write max_doublings",
    "max_num_doublings": "write max_doublings",
}

HMC = FULL_BATCH | {
    "num_integration_steps": "write n_leapfrog, the mean number of leapfrog steps per draw",
    "step_size": REMOVE + ": it is adapted to target_acceptance",
    "adapt_step_size": REMOVE + ": the step size is always adapted",
    "max_tree_depth": REMOVE + ", or use the sampler nuts and its max_doublings",
}

MCLMC = (
    FULL_BATCH
    | _TUNED_MCLMC
    | {"target_accept": REMOVE + ": no step is rejected; write desired_energy_var"}
)

ADJUSTED_MCLMC = (
    FULL_BATCH
    | _TUNED_MCLMC
    | {
        "desired_energy_var": REMOVE + ": this sampler is tuned to target_acceptance",
        "L": REMOVE + ": it is tuned",
        "trajectory_length": REMOVE + ": L is tuned",
        "num_integration_steps": REMOVE + ": L is tuned",
        "step_size": REMOVE + ": it is tuned to target_acceptance",
    }
)

_WIDTHS = REMOVE + ": the widths of every replica are measured in the warm-up"

TEMPERED = FULL_BATCH | {
    "step_size": REMOVE + ": it is adapted to target_acceptance at every replica",
    "metric": _WIDTHS,
    "inverse_mass_matrix": _WIDTHS,
    "diagonal_preconditioning": _WIDTHS,
    "n_temperatures": "write n_replicas",
    "num_replicas": "write n_replicas",
    "n_rungs": "write n_replicas",
    "temperatures": "write ladder, the nbeta of all replicas but the coldest",
    "betas": "write ladder, the nbeta of all replicas but the coldest",
    "num_integration_steps": "write n_leapfrog, the mean number of leapfrog steps per move",
    "swap_every": REMOVE + ": neighbours try to exchange after every move",
}

SGHMC = STOCHASTIC | {
    "num_integration_steps": REMOVE + ": momentum is replaced continuously, see alpha",
    "n_leapfrog": REMOVE + ": momentum is replaced continuously, see alpha",
}

VI = ANY | {
    "batch": _BATCH,
    "grad_accum_steps": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "thinning": REMOVE + ": its draws are independent",
    "record_every": REMOVE + ": its draws are independent",
    "num_burnin_steps": REMOVE + ": its draws are independent",
    "num_steps_bw_draws": REMOVE + ": its draws are independent",
    "learning_rate": "write lr",
    "eval_samples": "write n_draws, the independent draws per restart at evaluation",
    "eval_every": REMOVE + ": every step is traced",
    "whitening_mode": "write whitening",
    "use_whitening": "write whitening: rmsprop or adam",
    "n_burn": REMOVE + ": its draws are independent",
    "warmup": "write lr_warmup_frac",
    "sigma_perp": REMOVE + ": the scale off the flow's directions is learned",
    "hidden": "write flow_hidden",
    "depth": "write flow_depth",
}
