"""A short training with checkpoints, for experiments of one line."""

MLP = "model: {widths: [3], activation: tanh}, data: {n_data: 40, n_test: 20}, seed: 3"
SGHMC = "{name: sghmc, dtype: float64, overrides: {n_chains: 2, n_draws: 40, n_burn: 8}}"


def entry(checkpoints, training="{steps: 60, batch_size: 8}", rest=""):
    return f"{{{MLP}, training: {training}, checkpoints: {checkpoints}{rest}}}"


def quiet(line):
    del line
