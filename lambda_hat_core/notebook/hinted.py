"""What to write instead of an argument that a call does not have."""

import inspect
from collections.abc import Callable
from functools import wraps

from lambda_hat_core.config.errors import suggest
from lambda_hat_core.config.hints import hint
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.known import SAMPLERS


def hinted[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that says what to write where it gets an argument that it does not have.

    Args:
        function: a call for notebooks, whose arguments all have names.
    """
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__}: there is no {name}; {_instead(name, known)}")
        return function(*args, **kwargs)

    return call


def _instead(name: str, known: list[str]) -> str:
    if name == "until":
        return "write rel_se=, max_fge= or max_seconds="
    if name in PosteriorSpec.model_fields:
        return f"write posterior={{'{name}': ...}}"
    if words := hint("posterior", name) or hint("sgld", name):
        return _of_call(words, known)
    homes = [model.__name__ for model in SAMPLERS.values() if name in model.model_fields]
    if homes:
        return f"write sampler={homes[0]}({name}=...); it is a field of {', '.join(homes)}"
    return suggest(name, known)


def _of_call(words: str, known: list[str]) -> str:
    """Return what the hint for an experiment says, for a call."""
    if not words.startswith("write "):
        return "remove it: nothing here corresponds to it"
    head, _, rest = words.removeprefix("write ").partition(" ")
    key = head.strip(",:;")
    if key == "name":
        return "write sampler='sgld', or another"
    if key in known:
        return f"write {key}="
    if key in PosteriorSpec.model_fields:
        why = f", {rest}" if rest.startswith("which is") else ""
        return f"write posterior={{'{key}': ...}}{why}"
    return f"write sampler=Sgld({key}=...)"
