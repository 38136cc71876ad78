"""Colours of figures and pages: told apart by everybody, on white and in dark mode."""

import re

import numpy as np
import pytest

CVD = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Linear-RGB matrices of Machado, Oliveira & Fernandes (2009), severity 1."""

HALF_TURN = [[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]]
"""The matrix of hue-rotate(180deg) in the CSS Filter Effects specification."""


def srgb(*codes):
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)] for code in codes])


def linear(channels):
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(channels):
    return linear(channels) @ np.array([0.2126, 0.7152, 0.0722])


def contrast(one, other):
    first, second = luminance(one), luminance(other)
    return (np.maximum(first, second) + 0.05) / (np.minimum(first, second) + 0.05)


def lab(rgb):
    xyz = np.clip(rgb, 0, 1) @ np.array(
        [[0.4125, 0.2127, 0.0193], [0.3576, 0.7152, 0.1192], [0.1804, 0.0722, 0.9503]]
    )
    scaled = xyz / [0.9505, 1.0, 1.089]
    f = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def least_distance(channels, vision):
    seen = lab(linear(channels) @ np.array(CVD[vision]).T)
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
    return apart[~np.eye(len(seen), dtype=bool)].min()


def schemes():
    """Return the variables of the style sheet in light and in dark mode."""
    from lambda_hat_core.gallery import page

    sheet = page.HERE.joinpath("style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", part))
        for part in re.findall(r":root \{(.*?)\}", sheet, flags=re.DOTALL)
    )
    assert "filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen" in sheet
    return light, dark


def inverted(channels):
    """Return the colours of a figure as dark mode shows them."""
    turned = np.clip((1 - channels) @ np.array(HALF_TURN).T, 0, 1)
    return 1 - (1 - turned) * (1 - srgb(schemes()[1]["raised"]))


@pytest.mark.parametrize("vision", CVD)
def test_colours_of_figures_differ_for_every_vision_in_light_and_dark(vision):
    from lambda_hat_core.analysis.figures.style import PALETTE
    from lambda_hat_core.config.samplers.known import SAMPLERS

    assert len(PALETTE) >= len(SAMPLERS)
    colours = srgb(*PALETTE)
    assert least_distance(colours, vision) >= 21
    assert least_distance(inverted(colours), vision) >= 21


def test_colours_of_figures_have_contrast_in_light_and_dark():
    from lambda_hat_core.analysis.figures.style import FAINT, INK, PALETTE

    colours, dark = srgb(*PALETTE), srgb(schemes()[1]["raised"])
    assert contrast(colours, srgb("#ffffff")).min() >= 3
    assert contrast(inverted(colours), dark).min() >= 3
    words = srgb(INK, FAINT)
    assert contrast(words, srgb("#ffffff")).min() >= 4.5
    assert contrast(inverted(words), dark).min() >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_the_words_of_a_page_have_contrast(scheme):
    named = schemes()[scheme]
    pairs = [(ink, bed) for ink in ("ink", "faint", "link") for bed in ("page", "raised", "hover")]
    pairs += [(verdict, f"{verdict}-bed") for verdict in ("ok", "suspect", "failed")]
    for ink, bed in [*pairs, ("suspect", "raised")]:
        assert contrast(srgb(named[ink]), srgb(named[bed])).min() >= 4.5, (ink, bed)


def test_a_heat_map_rises_in_lightness_for_every_vision():
    from matplotlib import colormaps

    from lambda_hat_core.analysis.figures.style import HEAT

    colours = colormaps[HEAT](np.linspace(0, 1, 32))[:, :3]
    for matrix in CVD.values():
        assert (np.diff(lab(linear(colours) @ np.array(matrix).T)[:, 0]) > 0).all()


def test_the_colour_check_can_fail():
    red_and_green = srgb("#d62728", "#2ca02c")
    normal = least_distance(red_and_green, "normal")
    assert least_distance(red_and_green, "deuteranopia") < 0.5 * normal
