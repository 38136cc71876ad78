"""meta.json: description of a target, results of its audit, known coefficient, versions."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.targets.audit import LIMIT, Audit
from lambda_hat_core.targets.known import Known
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Weights

_PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "scikit-learn")


def facts(
    spec: TargetSpec, problem: Problem, w: Weights, found: Audit, answer: Known
) -> dict[str, Any]:
    """Return the content of meta.json for a built target."""
    exact = answer.coefficient
    at = "" if spec.step is None else f" at step {spec.step}"
    notes = [*problem.notes]
    if found.kinked:
        notes.append(
            "w* lies at a kink: a convex combination of the gradients on its sides vanishes"
        )
    if not found.exact:
        notes.append(f"eigenvalues are estimates from {found.spectrum.size} Lanczos steps")
    return {
        "n": problem.n,
        "d": int(w.size),
        "label": describe(spec, problem) + at,
        "kind": spec.model.kind,
        "loss": problem.loss.name if isinstance(problem.loss, Supervised) else "own",
        "loss0": found.loss0,
        "grad_norm": found.grad_norm,
        "min_eigenvalue": float(found.spectrum[0]),
        "max_eigenvalue": float(found.spectrum[-1]),
        "off_centre_bias": found.off_centre_bias,
        "is_minimum": not found.reasons,
        "audit_reasons": list(found.reasons),
        "audit_limit": LIMIT,
        "audit_notes": notes,
        "llc_known": None if exact is None else float(exact.llc),
        "llc_known_reason": answer.reason,
        "multiplicity": _multiplicity(problem, answer),
        "shapes": [[name, list(shape)] for name, shape in problem.shapes],
        "versions": {name: version(name) for name in _PACKAGES},
        "code_sha256": _code_sha256(),
        "numerics_version": spec.numerics_version,
    }


def _multiplicity(problem: Problem, answer: Known) -> int | None:
    stated = problem.claim is not None
    return None if stated or answer.coefficient is None else answer.coefficient.multiplicity


def describe(spec: TargetSpec, problem: Problem) -> str:
    """Return a description of the target in words: kind, sizes or factory, and data."""
    model, data = spec.model, spec.data
    sizes = {
        "mlp": lambda m: f"{m.activation} mlp {'-'.join(map(str, _widths(problem)))}",
        "deep_linear": lambda m: f"deep linear {'-'.join(map(str, m.widths))}, rank {m.rank}",
        "quadratic_activation": lambda m: (
            f"quadratic activation {m.in_dim}-{m.width}, rank {m.rank}"
        ),
        "diagonal_linear": lambda m: f"diagonal linear {m.in_dim} x {m.depth}, {m.n_zero} zero",
        "modular_mlp": lambda m: m.words,
        "superposition": lambda m: m.words,
        "transformer": lambda m: m.words,
        "quadratic": lambda m: f"quadratic in {problem.start.size} dimensions",
        "normal_crossing": lambda m: f"normal crossing {','.join(map(str, m.powers))}",
        "custom": lambda m: m.factory,
    }
    words = {
        "synthetic": lambda s: f" on {s.x_dist} inputs, {s.noise_model} noise {s.noise_scale:g}",
        "digits": lambda s: " on digits",
        "diabetes": lambda s: " on diabetes",
        "modular": lambda s: f" on {s.words}",
        "sparse_features": lambda s: f" on {s.words}",
        "induction": lambda s: f" on {s.words}",
        "icl_regression": lambda s: f" on {s.words}",
        "none": lambda s: "",
    }
    return sizes[model.kind](model) + words[data.kind](data)


def _widths(problem: Problem) -> tuple[int, ...]:
    network = problem.loss.network if isinstance(problem.loss, Supervised) else None
    return getattr(network, "widths", ())


def _code_sha256() -> str:
    """Return a hash of all source files of the package."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
