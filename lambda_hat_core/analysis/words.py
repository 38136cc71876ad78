"""Numbers formatted for people."""

import math


def many(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun, in the plural unless the count is 1."""
    return f"{count} {noun if count == 1 else nouns or f'{noun}s'}"


def plus_minus(value: float | None, se: float | None) -> str:
    """Format a value with its standard error, both to the second digit of the error.

    Examples are `5.007 ± 0.044` and `505 ± 630`. Without an error the value has four digits;
    without a value the result is `none`.
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
    """Format an interval, both ends to the first digit of the standard error.

    Examples are `[7.83, 8.27]` for an error of 0.094 and `[-500, 1500]` for 630. Without an error
    the ends have four digits.
    """
    se = 0.0 if se is None or not math.isfinite(se) else se
    if se < 1e-6 or max(abs(lo), abs(hi)) >= 1e7:
        return f"[{lo:.4g}, {hi:.4g}]"
    place = math.floor(math.log10(se))
    decimals = max(0, -place)
    return f"[{round(lo, -place):.{decimals}f}, {round(hi, -place):.{decimals}f}]"


def short(value: float) -> str:
    """Format a number briefly: 0.25, 300, 20k, 1.5M, 2e-05."""
    size = abs(value)
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit <= size < 1e12:
            return f"{value / unit:.4g}{suffix}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Format a duration roughly: 3 s, 40 s, 5 min, 2 h."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{_rough(seconds / length)} {unit}"
    return f"{_rough(seconds)} s"


def _rough(value: float) -> str:
    return f"{value:.0f}" if value < 10 else f"{float(f'{value:.1g}'):.0f}"
