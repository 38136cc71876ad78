"""The words used in results, explained: the source of docs/glossary.md and of every gallery."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Term(NamedTuple):
    """One word.

    Attributes:
        name: the word, as tables and pages write it.
        meaning: one to three sentences, with formulas between backticks.
    """

    name: str
    meaning: str


RESULTS = (
    Term(
        "LLC, λ",
        "The local learning coefficient of a minimum w* measures how degenerate the loss is there. "
        "It is estimated by `llc = nbeta (E[L_n(w)] - L_n(w*))`, where the expectation is over the "
        "localised posterior.",
    ),
    Term(
        "w*",
        "The trained parameters at which the LLC is estimated. They should be a minimum of the "
        "loss; an audit of the gradient and the curvature at w* checks this.",
    ),
    Term(
        "posterior",
        "The density that is sampled: `log p(w) = -nbeta L_n(w) - gamma/2 |w - w*|^2 + const`, "
        "where L_n is the mean loss over all n examples.",
    ),
    Term(
        "nbeta, nβ",
        "The number of examples n times the inverse temperature beta, by default `n / log n`. It "
        "is the factor of the mean loss in the posterior.",
    ),
    Term(
        "localiser, gamma",
        "The localiser is the term `gamma/2 |w - w*|^2`, which keeps the samples near w*; gamma is "
        "its strength. A direction whose curvature `nbeta h` is far below gamma contributes little "
        "to the LLC.",
    ),
    Term(
        "known, exact",
        "The known value (`llc_known`) is lambda itself, given only if it is certain for this w*. "
        "The exact value (`llc_oracle`) is the expectation at the nbeta and gamma of the run, "
        "which a correct sampler reproduces; the two differ at finite nbeta, and a sentence "
        "that begins with `finite temperature` says by how much.",
    ),
    Term(
        "verdict",
        "A statement about the sampler: whether its mean is that of the posterior. `ok`: no check "
        "found a problem. `suspect`: there is an estimate, and the reasons say why it should not "
        "be relied on. `failed`: there is no usable estimate. Each reason comes with an advice, "
        "the key to set and its value.",
    ),
    Term(
        "at a minimum, descent",
        "A statement about the target: whether w* is a minimum (`at_minimum`), and nbeta times "
        "the loss that a Newton step from w* predicts to lose (`descent`). If w* is none, the "
        "estimate is that of the given point, and may be negative.",
    ),
    Term(
        "R-hat",
        "A ratio that compares the variation between chains with the variation within them, here "
        "in its rank-normalised form. It is near 1 if the chains agree; above 1.1 for the loss, "
        "or for `|w - w*|^2` as far as the loss depends on it, the chains have not mixed and the "
        "run is suspect.",
    ),
    Term(
        "ESS",
        "The effective sample size: the number of independent draws that would give the mean the "
        "same standard error, `se = sd / sqrt(ESS)`. A run with fewer than 50 for the loss, its "
        "tails or, as far as the loss depends on it, `|w - w*|^2` is suspect.",
    ),
    Term(
        "projection",
        "The component `u^T (w - w*)` of a draw along a fixed random unit vector u. Four of them "
        "show whether the chains agree in directions that hardly affect the loss; the verdict does "
        "not use them.",
    ),
    Term(
        "V_M, virial certificate",
        "`V_M = E[(w - w*)^T M grad U(w)] / tr M` with `U = -log p` and "
        "`M = nbeta H (nbeta H + gamma)^-1`, where H is the Hessian of the loss; "
        "in a `kronecker` metric M is diagonal in its basis, with H's diagonal "
        "there. Integration by parts shows that it is 1 for draws from the posterior, so it needs "
        "no reference value. Below 1 the chains are not equilibrated, above 1 they are heated by "
        "the step size or by minibatch noise; more than 0.1 from 1 the run is suspect.",
    ),
    Term(
        "k-hat",
        "The shape of the tail of the importance ratios p/q between the posterior p and a fitted "
        "variational family q, from Pareto-smoothed importance sampling. Above 0.7 the family does "
        "not cover the posterior, and the run is suspect.",
    ),
    Term(
        "ledger",
        "The biases that a minibatch sampler predicts for itself before its first draw: from the "
        "localiser, the step size, minibatch noise and too short a burn-in. If the last three "
        "together exceed 10 % of the LLC, the run is suspect. In a run at two step sizes only the "
        "burn-in counts, because the bias of the step is measured.",
    ),
    Term(
        "step bias",
        "The bias of the draws at the larger step size of a run that makes half of its draws "
        "at half the step. The LLC is extrapolated to step size 0, so it does not contain this "
        "bias; more than a quarter of the LLC is too much to extrapolate, and the run is suspect.",
    ),
    Term(
        "precision, budget",
        "A run without a fixed length ends at a precision, a standard error that is a given share "
        "of the LLC (`rel_se`, by default 5 %), or at a budget of gradients or draws. If the "
        "budget is spent before the precision is reached, the run is suspect.",
    ),
    Term(
        "pilot",
        "A short run of underdamped Langevin dynamics before a chain sampler is set up. It moves "
        "the chains from w* to where the posterior has its mass and measures the Hessian there, "
        "which determines step sizes and metric.",
    ),
    Term(
        "metric",
        "The coordinates in which a sampler moves: the parameters themselves (`identity`), each "
        "scaled by its own width (`diagonal`), or coordinates in which the Hessian measured by the "
        "pilot is isotropic (`lanczos`). `sgld`, `sghmc` and `sgnht` add damping, so that flat "
        "directions stay short, and have a basis for the rows and one for the columns of every "
        "array of a large network (`kronecker`).",
    ),
    Term(
        "FGE",
        "Full-gradient evaluations, the unit of work: one gradient of the loss over all n "
        "examples. A gradient over B examples counts `B/n`, a loss without its gradient 1/3, a "
        "Hessian-vector product 2.",
    ),
)
"""The words in the tables and reasons of a gallery."""

PARTS = (
    Term(
        "target",
        "A network or potential with its data, its loss and its minimum w*. Its id `tgt_...` is a "
        "hash of its specification.",
    ),
    Term(
        "run",
        "One sampler, with its settings, posterior and seed, on one target. Its id "
        "`run_<sampler>_...` is a hash of all of these.",
    ),
    Term(
        "analysis",
        "What is computed from the draws of a run: estimate, interval, diagnostics, verdict and "
        "figures.",
    ),
    Term("experiment", "A YAML file that lists targets and samplers; every pair is a run."),
    Term("gallery", "A page that shows all runs of an experiment side by side."),
    Term(
        "store",
        "The folder that holds all artifacts, `runs/` or `LAMBDA_HAT_HOME`. Each artifact is a "
        "folder named by its id and is either complete or absent.",
    ),
    Term(
        "chunk",
        "20 draws of a chain that ends at a precision, or 128 draws from a variational fit; else a "
        "twentieth of the draws of a run. After each chunk progress is reported, a checkpoint may "
        "be written, and the pruner of a study may stop the run. The steps of a variational fit "
        "are twenty chunks too, after which only a checkpoint may be written.",
    ),
    Term(
        "card",
        "A YAML file that says where runs are computed: in how many processes of this machine, or "
        "on which partitions of a SLURM cluster.",
    ),
    Term(
        "payload",
        "A worker process that computes artifacts, all in one dtype.",
    ),
    Term(
        "study",
        "A search by Optuna for good settings of one sampler on one problem. Each of its trials is "
        "one run per seed with the same settings.",
    ),
)
"""Further words of the documentation and of the commands."""

_INTRODUCTION = """\
# Glossary

This page is generated by `make docs`; every gallery contains its first part.
"""


def page() -> str:
    """Return docs/glossary.md."""
    parts = [("Results", RESULTS), ("Parts of the program", PARTS)]
    tables = [f"## {heading}\n\n{_table(terms)}\n" for heading, terms in parts]
    return "\n".join([_INTRODUCTION, *tables])


def as_html() -> str:
    """Return the words of results as a collapsed section of an HTML page."""
    entries = "\n".join(
        f"<dt>{escape(term.name)}</dt><dd>{_marked(term.meaning)}</dd>" for term in RESULTS
    )
    return (
        '<details class="glossary"><summary>What the words mean</summary>\n'
        f"<dl>\n{entries}\n</dl></details>"
    )


def as_markdown() -> str:
    """Return the words of results as a collapsed section of a Markdown document."""
    return f"<details><summary>What the words mean</summary>\n\n{_table(RESULTS)}\n\n</details>"


def _table(terms: Sequence[Term]) -> str:
    rows = [f"| {_cell(term.name)} | {_cell(term.meaning)} |" for term in terms]
    return "\n".join(["| word | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Escape what Markdown would read as markup: bars everywhere, stars outside of formulas."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("*", "\\*").replace("_", "\\_") for part in parts[::2]]
    return "`".join(parts)


def _marked(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text))
