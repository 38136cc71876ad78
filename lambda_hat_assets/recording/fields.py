"""The fields of each asset's materialisations, with their types and meanings."""

import math
from typing import Any

import dagster as dg

Fields = dict[str, tuple[type, str]]

_COMMON: Fields = {
    "what": (str, "description of the artifact in words"),
    "made": (str, "when the artifact was computed, in UTC"),
    "reused": (bool, "whether it existed before, so that nothing was computed"),
}

TRAJECTORY: Fields = _COMMON | {
    "n": (int, "number of examples"),
    "d": (int, "number of parameters"),
    "checkpoints": (int, "number of steps at which the weights are kept"),
    "last_step": (int, "the last of them"),
    "train_loss": (float, "mean training loss there"),
    "test_loss": (float, "mean loss on held-out examples there"),
    "metric": (float, "accuracy, or the metric of the factory, there"),
    "work_fge": (float, "full-gradient evaluations"),
    "seconds": (float, "seconds of the training"),
}

TARGET: Fields = _COMMON | {
    "step": (int, "the step of the training, if w* is a checkpoint"),
    "trajectory_id": (str, "the training that it is a checkpoint of"),
    "metric": (float, "accuracy, or the metric of the factory, of a checkpoint"),
    "n": (int, "number of examples"),
    "d": (int, "number of parameters"),
    "loss0": (float, "L_n(w*), the final mean loss"),
    "grad_norm": (float, "gradient norm at w*"),
    "min_eigenvalue": (float, "lowest eigenvalue of the Hessian at w*"),
    "max_eigenvalue": (float, "highest eigenvalue of the Hessian at w*"),
    "off_centre_bias": (float, "nats by which the remaining gradient at w* lowers the LLC"),
    "is_minimum": (bool, "whether w* passed its audit"),
    "llc_known": (float, "the exact LLC at this w*, where it is certain"),
    "llc_known_reason": (str, "why the LLC is known, or is not"),
    "test_loss": (float, "mean loss on held-out examples"),
}

RUN: Fields = _COMMON | {
    "sampler": (str, "sampler, flavour and dtype"),
    "work_fge": (float, "full-gradient evaluations, all chains and purposes"),
    "wall_s": (float, "wall seconds"),
    "loss0": (float, "L_n(w*)"),
    "n_draws": (int, "draws per chain, burn-in included"),
    "stopped_by": (str, "what ended the run: precision, budget, length or failure"),
    "failure": (str, "why the run stopped early"),
}

ANALYSIS: Fields = _COMMON | {
    "step": (int, "the step of the training, if w* is a checkpoint"),
    "llc": (float, "the estimate"),
    "llc_se": (float, "its standard error"),
    "interval": (str, "central 90 % interval"),
    "verdict": (str, "ok, suspect or failed"),
    "reasons": (str, "why the verdict is not ok"),
    "advice": (str, "what to set so that each of the reasons does not occur again"),
    "at_minimum": (bool, "whether nothing shows that w* is no minimum"),
    "descent": (float, "nbeta times the loss that a Newton step from w* predicts to lose"),
    "notes": (str, "why w* is no minimum, and what the finite temperature does"),
    "n_draws": (int, "draws per chain, burn-in included"),
    "stopped_by": (str, "what ended the run: precision, budget, length or failure"),
    "llc_known": (float, "the exact LLC at this w*, where it is certain"),
    "llc_oracle": (float, "the exact value at this nbeta and gamma, where it is computable"),
    "r_hat": (float, "largest R-hat over the loss and |w - w*|^2"),
    "ess": (float, "smallest effective number of draws over the same"),
    "v_m": (float, "virial certificate, 1 at equilibrium"),
    "v_m_se": (float, "its standard error"),
    "v": (float, "the same with M = I; errors of different directions can cancel in it"),
    "v_se": (float, "its standard error"),
    "work_fge": (float, "full-gradient evaluations, all chains and purposes"),
    "wall_s": (float, "wall seconds"),
    "loss0": (float, "L_n(w*)"),
}

GALLERY: Fields = {
    "what": (str, "the experiment, with what its page shows"),
    "made": (str, "when the page was made, in UTC"),
    "reused": (bool, "whether an earlier page was kept, because nothing had changed"),
    "n_targets": (int, "number of targets on the page"),
    "n_runs": (int, "number of runs on the page, including failed and missing ones"),
}

EXPERIMENT: Fields = {
    "what": (str, "the experiment's members and their states in words"),
    "n_targets": (int, "number of targets"),
    "n_runs": (int, "number of runs"),
    "made": (int, "number of targets and runs that are in the store"),
    "failed": (int, "number of those that failed at the last attempt"),
    "missing": (int, "number of those that nobody has tried to make"),
}

REFERENCE: Fields = {
    "what": (str, "the problem in words"),
    "certified": (bool, "whether the estimate is certified"),
    "llc": (float, "the estimate of the longest run"),
    "llc_se": (float, "its standard error"),
    "reasons": (str, "why it is not certified"),
    "run_id": (str, "the id of that run"),
    "checked_by": (str, "the id of the run at the second gamma"),
    "work_fge": (float, "full-gradient evaluations of all its runs"),
    "wall_s": (float, "wall seconds of all its runs"),
    "budget_sec": (float, "limit on the wall seconds"),
}

STUDY: Fields = {
    "what": (str, "method and problem in words"),
    "trials": (int, "number of trials in the study"),
    "pruned": (int, "number of trials that were stopped early"),
    "failed": (int, "number of failed trials, which have no objective"),
    "objective": (float, "objective of the best trial; lower is better"),
    "best_trial": (int, "its number"),
    "parameters": (str, "its parameters"),
    "llc": (float, "mean over its runs"),
    "llc_ref": (float, "the reference, if the objective needs one"),
    "v_m": (float, "virial certificate, mean over its runs"),
    "work_fge": (float, "full-gradient evaluations of all trials"),
    "preset": (str, "path of its settings, which an experiment can use as a preset"),
}


def schema(fields: Fields) -> dict[str, Any]:
    """Return definition metadata that lists the fields of every materialisation."""
    columns = [
        dg.TableColumn(name, type=kind.__name__, description=words)
        for name, (kind, words) in fields.items()
    ]
    return {"fields": dg.MetadataValue.table_schema(dg.TableSchema(columns))}


def pick(fields: Fields, record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a record has, leaving out what is null or not finite."""
    found = {name: record.get(name) for name in fields}
    return {name: value for name, value in found.items() if _is_told(value)}


def _is_told(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
