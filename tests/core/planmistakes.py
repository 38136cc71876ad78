"""Experiments with one mistake each, and what must be said of it."""

from tests.core.plans import one

MLP = "{model: {hidden: 4}, data: {n_data: 500}}"
DIGITS = "{model: {hidden: 4}, data: digits}"
DEEP = "{model: {kind: deep_linear, widths: [3, 4, 3], rank: 2}}"


def experiment(targets: str = MLP, samplers: str = "{name: nuts}", rest: str = "") -> str:
    return one(targets, samplers, rest)


def sampler(overrides: str, name: str = "sgld") -> str:
    return experiment(samplers=f"{{name: {name}, overrides: {{{overrides}}}}}")


def model(mapping: str) -> str:
    return experiment(f"{{model: {{{mapping}}}}}")


BAD = {
    # rejected by YAML
    "syntax": ("targets: [1,\nsamplers: 2\n", [":", "not valid YAML"]),
    "tab": ("targets:\n\t- 1\n", [":2", "not valid YAML"]),
    "duplicate_key": ("posterior: {gamma: 1}\nposterior: {gamma: 2}", [":2", "duplicate key"]),
    "tag": ("targets: !!python/object/apply:os.system ['true']", [":1", "not valid YAML"]),
    "interpolation": (experiment(rest="experiment: ${oc.env:HOME}"), ["experiment", "${oc.env"]),
    "broken_interpolation": (experiment(rest="experiment: ${a"), ["interpolation"]),
    "scalar": ("hello", ["contains text, not a mapping"]),
    "no_yaml": ("Dear all,\nthis is no YAML.\n", ["bad.yaml: contains text"]),
    "number": ("1.5", ["contains text"]),
    "tagged": ("!!str 5", ["contains text"]),
    "set": ("!!set {a}", ["cannot be read"]),
    "wrong_tag": (experiment(rest="experiment: !!int five"), ["cannot be read", "invalid literal"]),
    "nested_lists": ("a: " + "[" * 5000 + "]" * 5000, [":1: more than 32 lists and mappings"]),
    "nested_mappings": ("targets: " + "{a: " * 5000 + "1" + "}" * 5000, ["more than 32"]),
    "nested_blocks": ("".join(" " * i + "a:\n" for i in range(100)), [":33: more than 32"]),
    "octal": (experiment("{model: small, seed: 010}"), [":1: YAML reads 010 as 8", "write 10"]),
    "sexagesimal": (experiment(rest="posterior: {gamma: 1:30}"), [":3: YAML reads 1:30 as 90"]),
    "list": ("- 1\n", ["contains a list"]),
    "control_character": ("a: \x00", ["not valid YAML"]),
    "number_key": (experiment(rest="1: 2"), ["1 is 2", "a key must be a string"]),
    # the file
    "empty": ("", ["targets", "samplers", "missing"]),
    "unknown_top": (experiment(rest="targetz: 1"), ["targetz", "did you mean targets?"]),
    "store_root": (experiment(rest="store_root: runs"), ["store_root", "LAMBDA_HAT_HOME"]),
    "card": (
        experiment(rest="mem_per_node: 16"),
        ["mem_per_node is 16", "goes to config/card/", "there it is tags.<dtype>.memory"],
    ),
    "tuning": (experiment(rest="methods: [sgld]"), ["methods is", "goes to config/tune/"]),
    "noise": (experiment(rest="posterior: {noise_level: 1}"), ["write beta0, which is 1 / noise"]),
    "epsilon": (sampler("epsilon: 1e-3"), ["overrides.epsilon", "no such key; write step_size"]),
    "other_kwargs": (
        experiment(samplers="{name: sgld, optimizer_kwargs: {lr: 1}}"),
        ["optimizer_kwargs is", "write overrides: {...}, the settings of the sampler"],
    ),
    "x64": (experiment(rest="jax_enable_x64: true"), ["jax_enable_x64", "dtype"]),
    "long_name": (experiment(rest="experiment: " + "n" * 300), ["text of at most 100 characters"]),
    "name": (experiment(rest="experiment: a/b"), ["experiment", '"a/b"', "must be"]),
    "no_targets": ("targets: []\nsamplers: [{name: nuts}]", ["targets is []", "at least 1"]),
    "not_a_list": ("targets: {}\nsamplers: [{name: nuts}]", ["targets is {}", "a list"]),
    "bare_sampler": ("targets: [{model: small}]\nsamplers: [nuts]", ["samplers[0]", "a mapping"]),
    "posterior_list": (experiment(rest="posterior: [1]"), ["posterior is [1]", "a mapping"]),
    # targets
    "no_model": (experiment("{data: small}"), ["targets[0].model", "missing"]),
    "preset": (experiment("{model: smal}"), ["targets[0].model", "smal", "did you mean small?"]),
    "data_preset": (experiment("{model: small, data: huge}"), ["targets[0].data", "known: base"]),
    "entry_key": (experiment("{model: small, sed: 1}"), ["targets[0].sed", "did you mean seed?"]),
    "too_high": (
        experiment("{model: small, noise_scale: 1}"),
        ["targets[0].noise_scale", "overrides: {data.noise_scale"],
    ),
    "too_high_2": (experiment(rest="gamma: 1"), ["gamma is 1", "posterior: {gamma"]),
    "kind": (model("kind: mpl"), ["targets[0].model.kind", "did you mean mlp?"]),
    "kind_list": (model("kind: [1]"), ["targets[0].model.kind is [1]", "known: custom"]),
    "no_widths": (model("widths: []"), ["targets[0].model.widths is []", "at least 1"]),
    "field": (model("widht: 3"), ["targets[0].model.widht", "did you mean"]),
    "type": (model("hidden: wide"), ["targets[0].model.hidden", '"wide"', "a whole number"]),
    "bool": (model("hidden: true"), ["targets[0].model.hidden", "true", "numbers"]),
    "range": (model("hidden: 0"), ["targets[0].model.hidden is 0", "> 0", "default is 32"]),
    "infinite": (experiment("{model: small, data: {noise_scale: .inf}}"), ["finite number"]),
    "list_item": (model("widths: [4, -1]"), ["targets[0].model.widths[1] is -1", "> 0"]),
    "activation": (model("activation: none"), ["activation", '"none"', "'identity'"]),
    "seed": (experiment("{model: small, seed: -1}"), ["targets[0].seed is -1", ">= 0"]),
    "two_sizes": (model("hidden: 4, target_params: 99"), ["targets[0].model", "only one of"]),
    "two_sizes_2": (model("widths: [4], target_params: 99"), ["targets[0].model", "only one of"]),
    "depth_widths": (model("depth: 3, widths: [4, 4]"), ["model.depth is 3", "2 entries"]),
    "missing_field": (model("kind: deep_linear, widths: [3, 3, 3]"), ["model.rank", "missing"]),
    "rank": (model("kind: deep_linear, widths: [3, 2, 3], rank: 3"), ["rank is 3", "rank <= 2"]),
    "rank_qa": (model("kind: quadratic_activation, in_dim: 3, width: 2, rank: 3"), ["rank <= 2"]),
    "n_zero": (model("kind: diagonal_linear, in_dim: 3, n_zero: 4"), ["n_zero <= in_dim"]),
    "powers": (model("kind: normal_crossing, powers: [0, 0]"), ["one power > 0"]),
    "point": (model("kind: normal_crossing, powers: [1], point: [0, 0]"), ["2 entries"]),
    "off_zero": (model("kind: normal_crossing, powers: [1, 0], point: [1, 0]"), ["zero set"]),
    "spectrum_d": (model("kind: quadratic, spectrum: [1, 2], d: 9"), ["model.d is 9", "spectrum"]),
    "spectrum_condition": (
        model("kind: quadratic, spectrum: [1, 2], condition: 2"),
        ["model.condition is 2", "spectrum"],
    ),
    "spectrum_rank": (model("kind: quadratic, d: 3, rank: 4"), ["rank is 4", "rank <= d"]),
    "flat": (model("kind: quadratic, spectrum: [0, 0]"), ["all zeros"]),
    "in_dim": (experiment("{model: base, data: digits}"), ["model/base.yaml: in_dim is 32", "64"]),
    "out_dim": (experiment("{model: {out_dim: 3}, data: digits}"), ["model.out_dim is 3", "10"]),
    "potential_data": (
        experiment("{model: {kind: quadratic}, data: small}"),
        ["no synthetic data"],
    ),
    "own_truth": (
        experiment(DEEP[:-1] + ", data: digits}"),
        ['targets[0].data is "digits"', "defines the truth"],
    ),
    "mlp_no_data": (experiment("{model: small, data: {kind: none}}"), ["an mlp needs data"]),
    "digits_n": (experiment("{model: small, data: {kind: digits, n_data: 1700}}"), ["<= 1697"]),
    "digits_teacher": (
        experiment(DIGITS[:-1] + ", teacher: small}"),
        ['targets[0].teacher is "small"', "digits data"],
    ),
    "teacher_sizes": (
        experiment(MLP[:-1] + ", teacher: {hidden: 3, widths: [3]}}"),
        ["targets[0].teacher", "only one of"],
    ),
    "teacher_init": (experiment(MLP[:-1] + ", teacher: {init: he}}"), ["teacher.init", "remove"]),
    "train_batch": (
        experiment(MLP[:-1] + ", training: {batch_size: 501}}"),
        ["targets[0].training.batch_size is 501", "n_data = 500"],
    ),
    "decay": (experiment(MLP[:-1] + ", training: {weight_decay: 0.1}}"), ["adamw"]),
    "start": (experiment(DIGITS[:-1] + ", training: {start: truth}}"), ["start", "no known truth"]),
    "start_2": (
        experiment(MLP[:-1] + ", teacher: base, training: {start: truth}}"),
        ["targets[0].training.start", "teacher: _null"],
    ),
    "start_dropout": (
        experiment(MLP[:-1] + ", teacher: {dropout_rate: 0.2}, training: {start: truth}}"),
        ["targets[0].training.start", "dropout_rate is 0.2"],
    ),
    "teacher_depth": (
        experiment("{model: {widths: [4, 5]}, teacher: {depth: 3}}"),
        ["targets[0].teacher.depth is 3", "widths [4, 5] differ", "give widths"],
    ),
    "early_stop": (
        experiment(MLP[:-1] + ", overrides: {training.early_stop_tol: 1e-6}}"),
        ["targets[0].overrides.training.early_stop_tol is 1e-06", "grad_tol"],
    ),
    # overrides
    "twice": (
        experiment(MLP[:-1] + ", overrides: {data: {n_data: 9}, data.n_data: 8}}"),
        ["targets[0].overrides.data.n_data", "given twice"],
    ),
    "top_override": (
        experiment(MLP[:-1] + ", overrides: {noise_scale: 0.2}}"),
        ["targets[0].overrides.noise_scale is 0.2", "write data.noise_scale"],
    ),
    "override_kind": (
        experiment(MLP[:-1] + ", overrides: {model.kind: quadratic}}"),
        ["targets[0].overrides.model.kind", "cannot be overridden"],
    ),
    "override_sampler_kind": (sampler("kind: sghmc"), ["overrides.kind", "cannot be overridden"]),
    "override_no_kind": (
        experiment(MLP[:-1] + ", overrides: {training.kind: adam}}"),
        ["targets[0].overrides.training.kind", "no such key"],
    ),
    "override_two_sizes": (
        experiment("{model: small, overrides: {model: {widths: [5], hidden: 4}}}"),
        ["targets[0].overrides.model.hidden is 4", "only one of"],
    ),
    "override_preset": (
        experiment(MLP[:-1] + ", overrides: {data: base}}"),
        ["targets[0].overrides.data", "write data: beside"],
    ),
    # samplers
    "sampler_name": (experiment(samplers="{name: nut}"), ["samplers[0].name", "did you mean nuts"]),
    "sampler_key": (
        experiment(samplers="{name: nuts, n_draws: 9}"),
        ["samplers[0].n_draws is 9", "overrides: {n_draws"],
    ),
    "sampler_field": (sampler("stepsize: 1"), ["overrides.stepsize", "did you mean step_size"]),
    "burn": (sampler("n_draws: 100, n_burn: 100"), ["samplers[0].overrides", "n_burn < n_draws"]),
    "batch": (sampler("batch_size: 501"), ["overrides.batch_size is 501", "n_data = 500"]),
    "union": (sampler("step_size: -1"), ["overrides.step_size is -1", "> 0 or 'auto'"]),
    "literal": (
        sampler("precond: adagrad"),
        ["precond", "'none', 'rmsprop', 'adam', 'lanczos' or"],
    ),
    "dtype": (experiment(samplers="{name: nuts, dtype: float16}"), ["dtype", "'float32' or"]),
    "r_per_component": (sampler("r_per_component: [1, 2]", "vi"), ["2 entries, but M is 4"]),
    "huge": (sampler("n_tune: 99999999999999999999", "mclmc"), ["n_tune is 99", "beyond 2^53"]),
    "huge_item": (model("widths: [99999999999999999999]"), ["cannot be hashed", "2^53"]),
    "deep": (model("depth: 1000000000000"), ["model.depth", "<= 1000"]),
    # posterior
    "gamma": (experiment(rest="posterior: {gamma: -1}"), ["posterior.gamma is -1", ">= 0"]),
    "gamma_list": (experiment(rest="posterior: {gamma: [1, x]}"), ['posterior.gamma[1] is "x"']),
    "gamma_empty": (experiment(rest="posterior: {gamma: []}"), ["posterior.gamma", "empty list"]),
    "gamma_radius": (
        experiment(rest="posterior: {gamma: [1, 2], prior_radius: 1}"),
        ["posterior.gamma", "prior_radius"],
    ),
    "digits_mse": (
        experiment(DIGITS, rest="posterior: {loss: mse}"),
        ["posterior.loss", "classes"],
    ),
    "xent": (
        experiment(rest="posterior: {loss: cross_entropy}"),
        ["posterior.loss", "not classes"],
    ),
    "own": (experiment(rest="posterior: {loss: own}"), ["posterior.loss", "no loss of its own"]),
    "sigma": (
        experiment("{model: small, data: diabetes}", rest="posterior: {loss: gaussian}"),
        ["posterior.loss", "write posterior.sigma"],
    ),
    "idle_sigma": (experiment(rest="posterior: {sigma: 1}"), ["posterior.sigma", "student_t"]),
    "other_minimum": (
        experiment(samplers="{name: nuts, posterior: {loss: student_t}}"),
        ["samplers[0].posterior.loss", "targets[0]", "training.loss"],
    ),
    "student_sigma": (
        experiment(rest="posterior: {loss: student_t, sigma: 0.2}"),
        ["posterior.sigma is 0.2", "noise_scale = 0.1"],
    ),
    "potential_loss": (
        experiment("{model: {kind: quadratic}, training: {loss: mse}}"),
        ["targets[0].training.loss", "has its own loss"],
    ),
    "potential_training": (
        experiment("{model: {kind: quadratic}, training: fast}"),
        ["training/fast.yaml: ", "is not trained"],
    ),
    "potential_steps": (
        experiment("{model: {kind: quadratic}, overrides: {training.steps: 3}}"),
        ["targets[0].overrides.training.steps is 3", "is not trained"],
    ),
    # custom
    "factory": (
        experiment("{model: {kind: custom, factory: 'no_such_module:make'}}"),
        ["targets[0].model.factory", "no_such_module", "PYTHONPATH"],
    ),
    "factory_form": (experiment("{model: {kind: custom, factory: make}}"), ["model.factory"]),
    "kwargs": (
        experiment("{model: {kind: custom, factory: 'json:loads', kwargs: {k: .nan}}}"),
        ["targets[0].model", "kwargs"],
    ),
    "no_kwargs": (
        experiment("{model: {kind: custom, factory: 'json:loads', kwargs: 1}}"),
        ["targets[0].model.kwargs is 1", "the default is {}"],
    ),
    "custom_data": (
        experiment("{model: {kind: custom, factory: 'json:loads'}, data: {n_data: 5}}"),
        ["targets[0].data", "factory returns"],
    ),
}
