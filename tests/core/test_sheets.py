"""Calibration sheets: the grid in YAML and in a notebook, its heat maps and the page about it."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.test_figures import assert_legible
from tests.core.test_gallery import store
from tests.core.test_gallery_profiles import NUTS, SGLD, add, page_of

__all__ = ["store"]

GRID = """
targets: [{model: {kind: quadratic, d: 3}, data: {n_data: 100}}]
samplers:
  - {name: sgld, overrides: {precond: rmsprop}, seed: 2}
  - {name: nuts}
PROFILES
"""
AXES = "{step_size: [1e-5, 1e-4, 1e-3], nbeta: [30, 100], gamma: [1, 10]}"


def grid(profiles, more=""):
    return GRID.replace("PROFILES", f"profiles: {profiles}\n{more}")


def test_a_grid_makes_an_ordinary_run_of_every_combination(plan_of):
    plan = plan_of(grid(AXES))
    at = [
        (
            run.sampler.kind,
            getattr(run.sampler, "step_size", None),
            run.posterior.nbeta,
            run.posterior.gamma,
        )
        for run in plan.runs.values()
    ]
    steps, nbetas, gammas = (1e-5, 1e-4, 1e-3), (30.0, 100.0), (1.0, 10.0)
    assert len(at) == len({*at}) == 16
    assert {row for row in at if row[0] == "sgld"} == {
        ("sgld", s, b, g) for s in steps for b in nbetas for g in gammas
    }
    assert {row[2:] for row in at if row[0] == "nuts"} == {(b, g) for b in nbetas for g in gammas}
    written = grid("{}").replace("rmsprop", "rmsprop, step_size: 1e-4")
    alone = plan_of(written + "posterior: {nbeta: 100, gamma: 10}")
    assert {*alone.runs} < {*plan.runs}, "a cell has the id of the same run without a grid"
    labels = {plan.labels[run] for run in plan.runs}
    assert len(labels) == 16 and any("sgld rmsprop (step 1e-05, " in label for label in labels)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (grid("{step_size: []}"), r"profiles.step_size is \[\]: must have one or more values"),
        (grid("{gamma: [1, 1]}"), r"profiles.gamma is .*each of them once"),
        (grid("{gama: [1]}"), r"profiles.gama is .*did you mean gamma"),
        (grid("{nbeta: [-1]}"), r"profiles.nbeta"),
        (grid("[1]"), r"profiles is \[1\]"),
        (grid(AXES, "posterior: {gamma: 3}"), r"posterior.gamma is written too; remove one"),
        (
            grid(AXES).replace("rmsprop}", "rmsprop, step_size: 1e-4}"),
            r"samplers\[0\].overrides.step_size is 0.0001: profiles.step_size is written too",
        ),
        (
            grid(AXES).replace("name: sgld, overrides: {precond: rmsprop}", "name: hmc"),
            "no sampler here has a step_size that can be set: hmc, nuts",
        ),
    ],
)
def test_a_mistake_in_a_grid_is_said_in_one_line(plan_of, text, said):
    with pytest.raises(ValueError, match=said) as error:
        plan_of(text)
    assert len(str(error.value).splitlines()) == 1


def sheet_cells(steps=(1e-5, 1e-4, 1e-3), nbetas=(30.0, 100.0), gammas=(1.0, 10.0)):
    from lambda_hat_core.analysis.sheet import Cell

    return [
        Cell(s, b, g, 5 + 100 * s, 0.1, 1 + 200 * s, "suspect" if s > 5e-4 else "ok")
        for s in steps
        for b in nbetas
        for g in gammas
    ]


@pytest.mark.parametrize(
    "axes", [{}, {"gammas": (1.0,)}, {"nbetas": (3.0,)}, {"gammas": range(1, 8)}]
)
def test_a_sheet_is_drawn_legibly_with_every_number(axes):
    from lambda_hat_core.analysis.figures.sheet import sheet_figure

    cells = [cell._replace(gamma=float(cell.gamma)) for cell in sheet_cells(**axes)]
    figure = sheet_figure(cells[:-1], "a" * 200, "said")
    figure.canvas.draw()
    assert_legible(figure)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(words) == 2 * len(cells) and words.count("not run") == 2
    assert words.count("5.1 ?") == sum(cell.verdict == "suspect" for cell in cells[:-1])


def test_the_sentence_names_the_step_sizes_at_which_v_m_is_1():
    from lambda_hat_core.analysis.sheet import note

    assert note(sheet_cells()).endswith("nβ and gamma at step size 1e-05, 0.0001")
    assert note(sheet_cells(steps=(1e-3, 1e-2))).startswith("there is no step size here")


def test_the_page_shows_the_sheet_and_leads_to_the_chains(store):
    steps, nbetas = (1e-5, 1e-4), (30.0, 100.0)
    runs = [
        add(store, SGLD | {"step_size": s}, 5.0, {"nbeta": b}, v_m=1.0, v_m_se=0.01)
        for s in steps
        for b in nbetas
    ]
    runs.append(add(store, NUTS, 5.0, {"nbeta": 30.0}))
    record, text = page_of(store, runs)
    (sheet,) = record["profiles"]
    assert (
        sheet["figure"].endswith("_sheet_1.png") and "at step size 1e-05, 0.0001" in sheet["note"]
    )
    behind = text.split("The runs behind the cells")[1].split("</details>")[0]
    for run in runs[:4]:
        assert f'<a href="#{run.id}">5.000 ± 0.010</a><small>ok, V_M 1</small>' in behind
        assert f'<details id="{run.id}">' in text
    assert runs[4].id not in behind


def loss(params, batch):
    return 0.5 * (batch * params["w"] ** 2).sum(axis=1).mean()


def test_a_grid_in_a_notebook_has_a_heat_map_and_the_chains_of_every_cell(x64):
    from lambda_hat_core import Sgld, llc_grid

    data, params = np.ones((64, 2)), {"w": np.zeros(2)}
    short = Sgld(n_draws=60, n_burn=20, extrapolate=False, precond="none")
    found = llc_grid(
        loss,
        params,
        data,
        sampler=short,
        step_size=[1e-3, 1e-2],
        gamma=1.0,
        posterior={"nbeta": 50.0},
        progress=False,
    )
    assert [*found] == [(1e-3, None, 1.0), (1e-2, None, 1.0)] and len(found) == 2
    frame = found.to_dataframe()
    assert list(frame.step_size) == [1e-3, 1e-2] and {*frame.nbeta} == {50.0}
    assert found[1e-3, None, 1.0].trace.llc.shape == (4, 40)
    assert found[1e-2, None, 1.0].settings["step_size"] == 1e-2
    assert len(found.plot().axes) == 2 and repr(found).startswith("LlcGrid(2 cells; ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "there is no grid; give step_size"),
        ({"step_size": []}, "must have one or more values"),
        ({"sampler": "nuts", "step_size": [1e-3]}, "nuts has no step_size"),
        ({"sampler": "sgdl", "gamma": [1.0]}, "did you mean sgld"),
        ({"gamma": [1.0], "posterior": {"gamma": 2.0}}, "posterior has it too"),
        ({"gamma": 1.0, "posterior": {"gamma": 2.0}}, "gamma is 1.0: posterior has it too"),
    ],
)
def test_a_mistake_in_a_notebook_grid_is_said_in_one_line(asked, said):
    from lambda_hat_core import llc_grid

    with pytest.raises(ValueError, match=said):
        llc_grid(loss, {"w": np.zeros(2)}, np.ones((8, 2)), **asked)


@pytest.mark.parametrize(
    "given", [3, np.array(3), [3], (3,), np.array([3]), np.int64(3), jnp.int32(3)]
)
def test_the_values_of_an_axis_are_a_list_of_plain_numbers(given):
    from lambda_hat_core.notebook.grid import _values

    found = _values(given)
    assert found == [3] and type(found[0]) is int
    assert _values("auto") == ["auto"] and _values(None) is None and _values([]) == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lr", "write step_size="),
        ("epsilon", "write step_size="),
        ("localization", "write gamma="),
        ("temperature", "write posterior={'beta0': ...}, which is 1 / temperature"),
        ("num_chains", "write sampler=Sgld(n_chains=...)"),
        ("loader", "write data, arrays"),
        ("steps_size", "did you mean step_size"),
        ("options", "did you mean functions"),
    ],
)
def test_a_word_of_another_tool_leads_to_the_axis_or_the_argument(word, said):
    from lambda_hat_core import llc_grid

    with pytest.raises(TypeError) as caught:
        llc_grid(loss, {"w": np.zeros(2)}, np.ones((8, 2)), **{word: [1e-3]})
    assert str(caught.value).startswith(f"llc_grid: there is no {word}; {said}")
