"""Profiles: the LLC of a target against gamma or nbeta, for runs that differ only in one."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lambda_hat_core.analysis import biases, profiles
from lambda_hat_core.analysis.biases import Bias
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.profiles import gamma_figure, temperature_figure
from lambda_hat_core.analysis.profiles import Point, TemperatureFit
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.gallery.figures import read_draws
from lambda_hat_core.gallery.rows import Row, split
from lambda_hat_core.store.store import SPEC, Store

Axis = Literal["gamma", "nbeta"]

SETS: dict[Axis, set[str]] = {
    "gamma": {"gamma", "prior_radius"},
    "nbeta": {"nbeta", "beta0", "beta_mode"},
}
"""Fields of a run's posterior that determine the value on each axis."""

HEADINGS = ("nβ", "LLC", "finite temperature", "step size", "burn-in")


class Profile(NamedTuple):
    """One curve.

    Attributes:
        figure: name of its PNG file.
        title: target and sampler of its runs.
        note: a sentence with the result.
        biases: one row per run, with the columns of `HEADINGS`; empty for gamma.
    """

    figure: str
    title: str
    note: str
    biases: list[tuple[str, ...]]


def draw_profiles(
    store: Store, id: str, label: str, rows: Sequence[Row], known: float | None, folder: Path
) -> list[Profile]:
    """Draw all profiles of a target's runs, those of exact samplers first.

    A run at nbeta 0 measures no coefficient and is part of none.

    Args:
        store: has the specs and draws.
        id: the id of the target.
        label: the target in words.
        rows: the target's runs.
        known: the exact LLC at w*, if it is known.
        folder: gets the PNG files.
    """
    lines = style.references(known, None)
    done = [row for row in rows if row.facts.get("llc") is not None and row.facts["nbeta"] > 0]
    drawn, exact_fits = [], {}
    for index, (axis, group) in enumerate(_groups(store, done)):
        title = f"{label}: {shared_name(group)}"
        points = [_point(row, axis) for row in group]
        name = f"{id}_{axis}_profile_{index + 1}.png"
        if axis == "gamma":
            found = profiles.gamma_profile(points)
            figure, note, table = gamma_figure(found, title, lines), found.note, []
        else:
            fit = profiles.temperature_fit(points)
            gammas = group[0].facts["gamma"]
            if group[0].facts["sampler"] in biases.EXACT:
                exact_fits.setdefault(gammas, fit)
            figure, note = temperature_figure(fit, title, lines), fit.note
            table = _biases(store, group, done, exact_fits.get(gammas, fit))
        style.save(figure, folder / name)
        drawn.append(Profile(name, title, note, table))
    return drawn


def section(drawn: Sequence[Profile], figure: Callable[[str], str]) -> str:
    """Return profiles as HTML; `figure` returns the HTML element of a picture."""
    return "\n".join(
        f'<div class="figures">{figure(profile.figure)}</div>\n'
        f'<p class="note">{escape(profile.title)}. {escape(_sentence(profile.note))}</p>'
        + _table(profile.biases)
        for profile in drawn
    )


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADINGS)
    body = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows)
    caption = "The biases of each run, and how they were determined"
    return f'<table class="biases"><caption>{caption}</caption>{head}{body}</table>'


def _groups(store: Store, rows: Sequence[Row]) -> Iterator[tuple[Axis, list[Row]]]:
    """Yield groups of runs that differ only in one axis and the seed, with two or more values."""
    specs = {row.run: store.read_json("analyses", row.run, SPEC) for row in rows}
    ordered = sorted(rows, key=lambda row: row.facts["sampler"] not in biases.EXACT)
    axes: tuple[Axis, ...] = ("gamma", "nbeta")
    for axis in axes:
        groups: dict[str, list[Row]] = {}
        for row in ordered:
            groups.setdefault(_without(specs[row.run], axis), []).append(row)
        for group in groups.values():
            if len({row.facts[axis] for row in group}) > 1:
                yield axis, sorted(group, key=lambda row: row.facts[axis])


def _without(spec: Mapping[str, Any], axis: Axis) -> str:
    rest = {name: v for name, v in spec["posterior"].items() if name not in SETS[axis]}
    return json.dumps({**spec, "seed": None, "posterior": rest}, sort_keys=True)


def shared_name(group: Sequence[Row]) -> str:
    """Return the part that the labels of all runs have in common."""
    labels = [split(row.member.label) for row in group]
    shared = [part for part in labels[0][1] if all(part in parts for _, parts in labels)]
    return f"{labels[0][0]} ({', '.join(shared)})" if shared else labels[0][0]


def _point(row: Row, axis: Axis) -> Point:
    facts = row.facts
    return Point(facts[axis], facts["llc"], facts["llc_se"] or 0.0, facts["verdict"])


def _biases(
    store: Store, group: Sequence[Row], rows: Sequence[Row], fit: TemperatureFit
) -> list[tuple[str, ...]]:
    return [
        (
            short(row.facts["nbeta"]),
            plus_minus(row.facts["llc"], row.facts["llc_se"]),
            _words(biases.temperature_bias(fit, row.facts["nbeta"])),
            _words(biases.step_bias(row.facts, _exact_twin(row, rows))),
            _words(biases.burn_in_bias(read_draws(store, row.run)[0])),
        )
        for row in group
    ]


def _exact_twin(row: Row, rows: Sequence[Row]) -> Mapping[str, Any] | None:
    """Return the facts of an exact sampler's run on the same posterior, if there is one."""
    same = ("nbeta", "gamma", "loss", "restrict", "prior")
    for other in rows:
        facts = other.facts
        is_exact = facts["sampler"] in biases.EXACT and facts["verdict"] != "failed"
        if is_exact and all(facts.get(name) == row.facts.get(name) for name in same):
            return facts
    return None


def _words(bias: Bias | None) -> str:
    if bias is None:
        return "not known"
    return f"{plus_minus(bias.value, bias.se)} ({bias.source})"
