"""Caveats: a few words beside an estimate, which say what the number is not."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_NOT_A_MINIMUM = "w* is not at a minimum"
_TOLD = 0.2
"""Smallest relative effect of the localiser that is told beside the estimate."""


class Caveat(NamedTuple):
    """The words beside an estimate, and the sentence that explains them."""

    words: str
    meaning: str


def caveats(facts: Mapping[str, Any], notes: list[str], localised: float | None) -> list[Caveat]:
    """Return the caveats of an estimate.

    Args:
        facts: the content of estimate.json.
        notes: its statements that do not affect the verdict.
        localised: the predicted effect of the localiser relative to the answer without it.
    """
    found: list[Caveat] = []
    if facts.get("at_minimum") is False:
        why = next((note for note in notes if note.startswith(_NOT_A_MINIMUM)), _NOT_A_MINIMUM)
        place = "infimum at infinity" if re.search(r"\bat infinity\b", why) else "not at a minimum"
        descent = facts.get("descent")
        words = place if descent is None else f"{place}, descent {descent:.2g}"
        found.append(Caveat(words, why))
    if localised is not None and abs(localised) >= _TOLD:
        meaning = (
            f"On the quadratic approximation of the loss at w*, the localiser moves the answer by "
            f"{localised:+.0%}: gamma holds back directions that the loss curves. Lower gamma or "
            "raise nbeta, or read the number as the coefficient at this gamma."
        )
        found.append(Caveat(f"localisation {localised:+.0%}", meaning))
    return found
