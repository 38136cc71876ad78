"""Numbers as people write them."""

import math


def plus_minus(value: float | None, se: float | None) -> str:
    """Write a value with its standard error, both to the error's second digit.

    `5.007 ± 0.044`, `505 ± 630`; without an error four digits, without a value `none`.
    """
    if value is None:
        return "none"
    if se is None or not se > 0 or not math.isfinite(se):
        return f"{value:.4g}"
    place = math.floor(math.log10(se)) - 1
    if max(abs(value), se) >= 1e7 or se < 1e-6:
        return f"{value:.4g} ± {se:.2g}"
    decimals = max(0, -place)
    return f"{round(value, -place):.{decimals}f} ± {round(se, -place):.{decimals}f}"


def interval(lo: float, hi: float, se: float | None) -> str:
    """Write an interval, both ends to the first digit of the standard error.

    `[7.83, 8.27]` for an error of 0.094, `[-500, 1500]` for 630; without one four digits.
    """
    se = 0.0 if se is None or not math.isfinite(se) else se
    if se < 1e-6 or max(abs(lo), abs(hi)) >= 1e7:
        return f"[{lo:.4g}, {hi:.4g}]"
    place = math.floor(math.log10(se))
    decimals = max(0, -place)
    return f"[{round(lo, -place):.{decimals}f}, {round(hi, -place):.{decimals}f}]"


def short(value: float) -> str:
    """Write a number in few letters: 0.25, 300, 20k, 1.5M, 2e-05."""
    size = abs(value)
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit <= size < 1e12:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:.4g}"
