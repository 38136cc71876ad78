"""How far a verdict can be trusted: every sampler at its defaults against exact answers.

`python bench/verdicts.py [--cases a,b] [--samplers c,d] [--seeds 2] [--report] [--out DIR]`

A run is wrong if it is off by more than max(5 %, 3 se), and right if it is within 5 % and its 90 %
interval holds the answer. A verdict fails in two ways: a silent wrong is ok and wrong, a false
alarm is not ok and right. The bars are no silent wrong; false alarms in at most 10 % of the right
runs of the samplers that docs/how-to-choose.md recommends and in 20 % of the others; and intervals
of 85 % to 97 % of the runs that are ok holding the answer.

A run that says nothing but that its budget ended before it was precise is `imprecise`: its interval
says the same, and it counts as no alarm. So does one whose V_M is far from 1 or near it within an
error that is too large to tell.

About a third of the cases is held out: thresholds are chosen on the others (`--split tuning`).
Rows are appended to --out one by one, so a bench may be made in parts.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from case import Case, is_held_out
from cases import MAKERS, case, is_large
from pages import markdown, rewrite

from lambda_hat_core import estimate_llc
from lambda_hat_core.analysis.verdict import findings
from lambda_hat_core.notebook.llc import Llc

RECOMMENDED = ("auto", "nuts", "sghmc", "tempered")
"""The samplers that docs/how-to-choose.md recommends."""
FOR_LARGE = ("auto", "sghmc", "sgld", "sgnht")
"""The samplers that large cases are run with."""
OTHERS = ("hmc", "mala", "mclmc", "adjusted_mclmc", "sgld", "sgnht", "vi")
WRONG, SES = 0.05, 3.0
ALARMS = {True: 0.10, False: 0.20}
"""Largest share of false alarms, by whether a sampler is recommended."""
COVERED = (0.85, 0.97)
IMPRECISE = {"precision", "V_M noise"}
"""Reasons that say that there are too few draws, and nothing else."""


def kinds(found: Llc) -> list[str]:
    """Return the reasons of a verdict, each in one or two words."""
    return sorted({_kind(one.text) for one in findings(found.estimate)})


def _kind(text: str) -> str:
    words = {
        "budget": "precision",
        "diverged": "divergences",
        "R-hat": "R-hat",
        "effective draws": "ESS",
        "too noisy": "V_M noise",
        "perhaps noise": "V_M noise",
        "V_M": "V_M",
        "certificate V": "V",
        "step size is too large": "step bias",
        "ledger": "ledger",
        "may heat": "heating",
        "too coarse": "rounding",
        "k-hat": "k-hat",
        "family is biased": "family",
        "half of the estimate": "error",
        "never moved": "stuck",
        "round trip": "round trips",
        "exchange": "exchanges",
        "not finite": "not finite",
        "stopped early": "stopped early",
        "w*": "minimum",
    }
    return next((kind for part, kind in words.items() if part in text), text[:30])


def run(name: str, of: Case, sampler: str, seed: int) -> tuple[dict[str, Any], Llc | None]:
    """Return the row of one run, and the run unless it ended in an error."""
    began = time.process_time()
    row: dict[str, Any] = {"case": name, "sampler": sampler, "seed": seed, "exact": of.exact}
    row["exact_se"] = of.exact_se
    try:
        found = estimate_llc(
            of.loss, of.params, of.data, posterior=of.posterior,
            sampler=sampler, seed=seed, progress=False,
        )  # fmt: skip
    except FloatingPointError as error:
        nothing = {"llc": None, "se": None, "low": None, "high": None, "verdict": "failed"}
        row |= nothing | {"kinds": ["no start"], "reasons": [str(error)]}
        return row | {"seconds": time.process_time() - began}, None
    low, high = found.interval or (None, None)
    return {
        **row,
        "chosen": found.settings["sampler"],
        "llc": found.llc,
        "se": found.se,
        "low": low,
        "high": high,
        "verdict": found.verdict,
        "kinds": kinds(found),
        "reasons": list(found.reasons),
        "v_m": found.v_m,
        "v_m_se": found.estimate.v_m_se,
        "r_hat": found.r_hat,
        "ess": found.ess,
        "divergent": found.estimate.n_divergent,
        "draws": found.trace.loss.size,
        "gradients": found.work_fge,
        "seconds": time.process_time() - began,
    }, found


def judged(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows with what became of each: wrong, right, silent, alarm, imprecise, covered."""
    frame = pd.DataFrame(rows)
    # Words of today for the reasons of runs that were made before them.
    frame["kinds"] = [
        sorted(set(map(_kind, row["reasons"]))) if row["llc"] is not None else row["kinds"]
        for row in rows
    ]
    numbers = ["llc", "se", "low", "high", "exact", "exact_se"]
    frame[numbers] = frame[numbers].astype(float)
    off = (frame.llc - frame.exact).abs()
    error = np.hypot(frame.se.fillna(0), frame.exact_se)
    margin = 2 * frame.exact_se
    frame["off"] = frame.llc / frame.exact - 1
    frame["covered"] = (frame.low - margin <= frame.exact) & (frame.exact <= frame.high + margin)
    frame["wrong"] = ~(off <= np.maximum(WRONG * frame.exact, SES * error))
    frame["right"] = (off <= WRONG * frame.exact) & frame.covered
    frame["imprecise"] = [bool(kinds) and set(kinds) <= IMPRECISE for kinds in frame.kinds]
    frame["ok"] = frame.verdict == "ok"
    frame["silent"] = frame.ok & frame.wrong
    frame["alarm"] = ~frame.ok & ~frame.imprecise & frame.right
    frame["held_out"] = [is_held_out(name) for name in frame.case]
    return frame


def matrix(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one line per sampler: what its verdicts say of its right and its wrong runs."""
    lines = []
    for sampler, rows in frame.groupby("sampler", sort=False):
        ok, right, wrong = rows[rows.ok], rows[rows.right], rows[rows.wrong]
        lines.append(
            {
                "sampler": sampler,
                "runs": len(rows),
                "ok": len(ok),
                "imprecise": int(rows.imprecise.sum()),
                "wrong": len(wrong),
                "silent wrong": int(rows.silent.sum()),
                "right": len(right),
                "false alarms": int(rows.alarm.sum()),
                "false alarms %": _percent(rows.alarm.sum(), len(right)),
                "covered % of ok": _percent(ok.covered.sum(), len(ok)),
                "covered % of all": _percent(rows.covered.sum(), len(rows)),
                "gradients": float(rows.gradients.median()),
            }
        )
    return pd.DataFrame(lines)


def _percent(part: Any, whole: int) -> float:
    return 100 * float(part) / whole if whole else np.nan


def by_reason(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one line per reason: how often it was given to runs that are right and wrong."""
    each = frame[~frame.ok].explode("kinds")
    alone = frame[[len(kinds) == 1 for kinds in frame.kinds]].explode("kinds")
    lines = []
    for kind, rows in each.groupby("kinds"):
        only = alone[alone.kinds == kind]
        lines.append(
            {
                "reason": kind,
                "right": int(rows.right.sum()),
                "wrong": int(rows.wrong.sum()),
                "between": int((~rows.right & ~rows.wrong).sum()),
                "alone on right": int(only.right.sum()),
                "alone on wrong": int(only.wrong.sum()),
            }
        )
    return pd.DataFrame(lines)


def missed(table: pd.DataFrame) -> list[str]:
    """Return the samplers that are outside the bars, with what they miss."""
    found = []
    for row in table.to_dict("records"):
        most = 100 * ALARMS[row["sampler"] in RECOMMENDED]
        if row["silent wrong"]:
            found.append(f"{row['sampler']}: {row['silent wrong']} silent wrong")
        if row["false alarms %"] > most:
            found.append(f"{row['sampler']}: {row['false alarms %']:.0f} % false alarms")
        if not 100 * COVERED[0] <= row["covered % of ok"] <= 100 * COVERED[1]:
            found.append(f"{row['sampler']}: covers {row['covered % of ok']:.0f} %")
    return found


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["case"], row["sampler"], row["seed"]


def _kept(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _chosen(names: Any, wanted: str) -> Iterator[str]:
    return (name for name in names if any(part in name for part in wanted.split(",")))


def main() -> None:
    """Make the runs that are missing, print the tables and hold them against the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="names that hold one of these")
    parser.add_argument("--samplers", default=",".join((*RECOMMENDED, *OTHERS)))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--split", choices=("tuning", "held_out"), help="report these cases only")
    parser.add_argument("--report", action="store_true", help="report on the runs that there are")
    parser.add_argument("--out", type=Path, default=Path("bench/out/verdicts.jsonl"))
    parser.add_argument("--docs", type=Path, help="a page with places for the tables")
    given = parser.parse_args()
    names, samplers = list(_chosen(MAKERS, given.cases)), given.samplers.split(",")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if not given.report:
        made = {_key(row) for row in _kept(given.out)}
        for name in names:
            for sampler in samplers:
                if is_large(name) and sampler not in FOR_LARGE:
                    continue
                for seed in range(given.seeds):
                    if (name, sampler, seed) not in made:
                        row, _ = run(name, case(name), sampler, seed)
                        with given.out.open("a") as lines:
                            lines.write(json.dumps(row) + "\n")
            print(f"made {name}", file=sys.stderr, flush=True)
    rows = [row for row in _kept(given.out) if row["case"] in names and row["sampler"] in samplers]
    frame = judged(rows)
    if given.split:
        frame = frame[frame.held_out == (given.split == "held_out")]
    tables = {"verdicts": matrix(frame), "reasons": by_reason(frame)}
    for title, table in tables.items():
        print(markdown(table, 3), "\n")
        if given.docs:
            rewrite(given.docs, title, markdown(table, 3))
    for row in frame[frame.silent].itertuples():
        print(f"silent wrong: {row.sampler} on {row.case}, seed {row.seed}: {row.llc:.4g} +- "
              f"{row.se:.2g} for {row.exact:.4g}")  # fmt: skip
    if failures := missed(tables["verdicts"]):
        raise SystemExit(f"outside the bars: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
