"""Which head becomes the induction head: `lambda-hat run induction; python bench/induction.py`.

An induction head attends from a token to what followed its earlier occurrence, and so predicts what
follows now (Olsson et al. 2022, arXiv:2209.11895). Its prefix-matching score is the attention that
falls there, averaged over held-out sequences, at positions whose token occurred before; a
previous-token head attends to the position before. Both are computed here from the stored weights
in NumPy, which shares nothing with the network, and stand beside the LLC of each head.

`python bench/induction.py [--home runs] [--docs docs/X.md]`
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pages import arguments, markdown, rewrite

from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.targets.storage import params

Scores = dict[str, tuple[float, float]]
"""Prefix-matching and previous-token score, by block.head."""


def scores(folder: Path) -> Scores:
    """Return both scores of every head of an attention-only transformer, on held-out rows."""
    weights = params(folder)
    with np.load(folder / "data.npz") as stored:
        x = stored["test0"]
    length = x.shape[1]
    stream = weights["embedding"][x] + weights["positions"]
    # match[row, t, s]: the token at t was at s - 1, before t.
    match = np.tril(np.pad(x[:, None, :-1] == x[:, :, None], ((0, 0), (0, 0), (1, 0))))
    seen = match.any(axis=2)
    found: Scores = {}
    block = 0
    while f"blocks.{block}.attention.query" in weights:
        query, key, value, output = (
            weights[f"blocks.{block}.attention.{name}"]
            for name in ("query", "key", "value", "output")
        )
        added = np.zeros_like(stream)
        for head in range(len(query)):
            logits = (stream @ query[head]) @ (stream @ key[head]).swapaxes(1, 2)
            logits /= np.sqrt(query.shape[2])
            logits[:, np.triu(np.ones((length, length), bool), 1)] = -np.inf
            pattern = np.exp(logits - logits.max(axis=2, keepdims=True))
            pattern /= pattern.sum(axis=2, keepdims=True)
            before = pattern[:, np.arange(1, length), np.arange(length - 1)].mean()
            matched = (pattern * match).sum(axis=2)[seen].mean()
            found[f"{block}.{head}"] = (float(matched), float(before))
            added += pattern @ (stream @ value[head]) @ output[head]
        stream, block = stream + added, block + 1
    return found


def table(store: Store) -> pd.DataFrame:
    """Return one row for each checkpoint: accuracy, the LLC of all, and of every head its LLC."""
    plan = load_plan("induction", Path(__file__).parents[1] / "config")
    found = sql.query(
        store,
        "select target_id, step, metric, restrict, llc, llc_se as se, verdict from llc join "
        "trajectories using (trajectory_id, step, target_id) order by step",
    )
    runs = pd.DataFrame(found.rows, columns=found.names)
    runs = runs[runs.target_id.isin(plan.targets)]
    rows = []
    for (step, target), group in runs.groupby(["step", "target_id"]):
        row = {"step": step, "test accuracy": f"{group.metric.iloc[0]:.2f}"}
        heads = scores(store.path("targets", str(target)))
        parts = group.restrict.fillna("")
        at = dict(zip(parts, group.itertuples(), strict=True))
        row["all"] = _estimate(at[""])
        for head, (matched, before) in heads.items():
            block, number = head.split(".")
            run = at[f"blocks.{block}.attention.*[{number}]"]
            row[f"head {head}"] = f"{_estimate(run)} ({matched:.2f}, {before:.2f})"
        rows.append(row)
    print(runs.verdict.value_counts().to_string())
    return pd.DataFrame(rows)


def _estimate(run) -> str:
    mark = "" if run.verdict == "ok" else " " + run.verdict
    return f"{run.llc:.1f} ± {run.se:.1f}{mark}"


def main() -> None:
    """Print the table; heads have their LLC, prefix-matching and previous-token score."""
    given = arguments(str(__doc__))
    rows = table(Store(given.home))
    print(markdown(rows))
    if given.docs:
        rewrite(given.docs, "induction", markdown(rows))


if __name__ == "__main__":
    main()
