"""What to write instead of keys that other tools, or older versions of this one, use."""

from collections.abc import Mapping

from pydantic import BaseModel

from lambda_hat_core.config.data import Synthetic, Teacher
from lambda_hat_core.config.experiment import ExperimentFile
from lambda_hat_core.config.model import Mlp
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.hints import NO_BOX, NOISE, REMOVE
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.study import TuneFile
from lambda_hat_core.config.training import Training

_DEVICE = "choose a compute card with LAMBDA_HAT_CARD"

_IS_EXPERIMENT = (
    "this is a key of an experiment, which goes to config/experiment/: choose it by "
    "LAMBDA_HAT_EXPERIMENT"
)
_IS_TUNING = (
    "this is a key of a tuning file, which goes to config/tune/: choose it by LAMBDA_HAT_TUNE, and "
    "run the job tune"
)
_IS_CARD = (
    "this looks like a compute card, which goes to config/card/: choose it by LAMBDA_HAT_CARD"
)

_EXPERIMENT, _TUNING = ExperimentFile.model_fields.keys(), TuneFile.model_fields.keys()

_OF_TAG = {
    **{
        key: key
        for key in (
            *("walltime", "partition", "account", "qos", "constraint", "gpus", "gpu_type"),
            *("memory", "cpus", "executor", "setup", "options", "threads", "env"),
        )
    },
    "type": "executor",
    "provider": "executor",
    "mem": "memory",
    "mem_per_node": "memory",
    "gpus_per_node": "gpus",
    "cores_per_worker": "threads",
    "cores_per_node": "cpus",
    "worker_init": "setup",
    "scheduler_options": "options",
}
"""Keys of a card's entry for one dtype, by what they are called there and in cards of Parsl."""

_OF_CARD = {"max_workers": "max_concurrent", "max_blocks": "max_concurrent"}
"""The same of keys of a whole card."""

_MEANING = {
    "executor": ": local or slurm",
    "memory": ", such as 16G,",
    "setup": ", a list of shell lines,",
    "options": ", a list,",
}


def _in_tags(key: str, name: str) -> str:
    """Return where a card has what `key` at its top says."""
    what = "it" if key == name else name + _MEANING.get(name, "")
    return f"write {what} in tags: {{float32: {{...}}, float64: {{...}}}}"


_LIKE_A_CARD = {
    **dict.fromkeys(("tags", "cluster", "max_concurrent", "shared_filesystem"), _IS_CARD),
    **{key: f"{_IS_CARD}; there it is {name}" for key, name in _OF_CARD.items()},
    **{
        key: f"{_IS_CARD}; there it is tags.<dtype>.{name}{_MEANING.get(name, '').rstrip(',')}"
        for key, name in _OF_TAG.items()
    },
}
"""What to say of keys of a card in an experiment or a tuning file."""

_HINTS: dict[str, Mapping[str, str]] = {
    "experiment": {
        **_LIKE_A_CARD,
        **dict.fromkeys((*_TUNING, "optuna"), _IS_TUNING),
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
        "defaults": REMOVE + ": presets are named in the entries of targets and samplers",
    },
    "tuning": {
        **_LIKE_A_CARD,
        **dict.fromkeys(_EXPERIMENT, _IS_EXPERIMENT),
        "optuna": "write its keys one level up: optuna.x as x",
        "study": "write tune: <name>",
        "n_trials": "write max_trials_per_method",
        "samplers": _IS_EXPERIMENT + "; or write methods: and a list of samplers",
        "targets": _IS_EXPERIMENT + "; or write problems: and a list of targets, each with a name",
        "seeds": "write seeds_per_trial, the runs of each trial",
    },
    "card": {
        **dict.fromkeys(_TUNING, _IS_TUNING),
        **dict.fromkeys(_EXPERIMENT, _IS_EXPERIMENT),
        "posterior": "this is a key of an experiment, which goes to config/experiment/, or of a "
        "tuning file, which goes to config/tune/",
        **{key: f"write {name}" for key, name in _OF_CARD.items()},
        **{key: _in_tags(key, name) for key, name in _OF_TAG.items()},
    },
    "target": {
        "name": "name the presets: model, data, teacher, training",
        "target": "write model: {kind: ...}",
        "kind": "write model: {kind: ...}",
        "quad_dim": "write model: {kind: quadratic, d: ...}",
        "loss": "write posterior: {loss: ...} for the experiment, or training: {loss: ...}",
        "posterior": "write it for the experiment, or in an entry of samplers",
        "dtype": REMOVE + ": targets are built in float64",
    },
    "sampler entry": {
        "kind": "write name",
        "sampler": "write name",
        "algo": "write overrides: {algo: ...}",
        **dict.fromkeys(
            ("settings", "optimizer_kwargs", "sampler_kwargs"),
            "write overrides: {...}, the settings of the sampler",
        ),
    },
    "model": {
        "init": REMOVE,
        "quad_dim": "write d",
        "hidden_dim": "write hidden, or widths",
        "hidden_dims": "write widths",
        "layers": "write widths",
        "dtype": REMOVE + ": targets are built in float64",
    },
    "data": {
        "n": "write n_data",
        "n_train": "write n_data",
        "seed": "write seed in the target's entry",
        "sigma": "write noise_scale",
    },
    "teacher": {
        "init": REMOVE,
        "seed": "write seed in the target's entry",
        "dropout": "write dropout_rate",
        "bias": REMOVE + ": a teacher has biases where its student has",
        "in_dim": "write model.in_dim: student and teacher see the same inputs",
        "out_dim": "write model.out_dim: student and teacher have the same outputs",
    },
    "training": {
        "early_stop_tol": "write grad_tol, where the polish stops",
        "eval_every": REMOVE,
        "learning_rate": "write lr",
        "epochs": "write steps",
        "batch": "write batch_size",
        "seed": "write seed in the target's entry",
        "dtype": REMOVE + ": targets are built in float64",
    },
    "prior": {
        "std": "write precision, which is 1 / std^2",
        "variance": "write precision, which is 1 / variance",
        "gamma": "write precision; gamma beside prior is that of the localiser",
    },
    "posterior": {
        "beta": "write beta_mode: fixed and beta0",
        "noise_scale": "write sigma",
        "localization": "write gamma",
        "temperature": "write beta0, which is 1 / temperature",
        "inverse_temperature": "write beta0",
        "noise_level": "write beta0" + NOISE,
        "weight_decay": "write prior: {precision: ...}, nbeta times a decay of the loss; gamma "
        "pulls towards w*",
        "box": NO_BOX,
        "bounding_box_size": NO_BOX,
        "optimize_over": "write restrict, a list of the parameters that are sampled",
        "elasticity": "write gamma",
        "localisation": "write gamma",
    },
    "until": {
        "se": "write rel_se, the standard error as a share of the llc",
        "precision": "write rel_se, the standard error as a share of the llc",
        "n_draws": "write max_draws, or n_draws in overrides of a sampler, without until",
        "max_seconds": REMOVE + ": only estimate_llc has it, since an id determines its draws",
    },
} | {name: model.hints for name, model in SAMPLERS.items()}


_BENEATH: dict[str, dict[str, type[BaseModel]]] = {
    "target": {"model": Mlp, "data": Synthetic, "teacher": Teacher, "training": Training},
    "sampler entry": dict(SAMPLERS),
    "experiment": {"posterior": PosteriorSpec, "until": Until},
}
"""Models whose keys are sometimes written one level too high."""


def hint(group: str, key: str) -> str | None:
    """Return what to write instead of `key` of a group or sampler, or None if that is unknown."""
    if key in _HINTS.get(group, {}):
        return _HINTS[group][key]
    homes = [name for name, model in _BENEATH.get(group, {}).items() if key in model.model_fields]
    if group == "sampler entry":
        homes += [name for name in SAMPLERS if key in _HINTS[name]]
        return f"write overrides: {{{key}: ...}}" if homes else None
    if group == "target" and homes:
        return f"write overrides: {{{homes[0]}.{key}: ...}}"
    return f"write {homes[0]}: {{{key}: ...}}" if homes else None
