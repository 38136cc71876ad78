"""What to write instead of an argument that a call does not have."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from lambda_hat_core.config.errors import suggest
from lambda_hat_core.config.hints import hint
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.known import SAMPLERS

_SETTINGS = (
    "write sampler=Sgld(...) with the settings of the sampler, and posterior={...} with those of "
    "the posterior"
)
_MODEL = (
    "write loss, a function of params and data; from_torch turns a PyTorch module into a function "
    "and its params (docs/your-model.md)"
)
_LOADER = "write data, arrays with a row for every example; load_rows reads them from files on disk"

_OF_CALLS = {
    "until": "write rel_se=, max_fge= or max_seconds=",
    **dict.fromkeys(("settings", "optimizer_kwargs", "sampler_kwargs"), _SETTINGS),
    "model": _MODEL,
    **dict.fromkeys(("loader", "dataloader", "data_loader"), _LOADER),
}
"""Words that no file has in the same place."""

_KEY = r"(\w+)(?:: (\w+|\{[^}]*\}))?(?: \([^)]*\))?"
_WRITE = re.compile(rf"write {_KEY}(?: and {_KEY})?")
"""The keys, and their values, that the hint for a file says to write."""

_ARGUMENT = re.compile(r"(\w+=) of estimate_llc")


def hinted[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that says what to write where it gets an argument that it does not have.

    Args:
        function: a call for notebooks, whose arguments all have names.
    """
    return _hinted(function, _names(function))


def hinted_with[**P, R](
    other: Callable[..., Any],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return `hinted` for a function that also takes the arguments of another one.

    Args:
        other: the function to which it passes them on.
    """
    return lambda function: _hinted(function, _names(function) + _names(other))


def _names(function: Callable[..., Any]) -> list[str]:
    found = inspect.signature(function).parameters.values()
    return [argument.name for argument in found if argument.kind is not argument.VAR_KEYWORD]


def _hinted[**P, R](function: Callable[P, R], known: list[str]) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__}: there is no {name}; {_instead(name, known)}")
        return function(*args, **kwargs)

    return call


def _instead(name: str, known: list[str]) -> str:
    if name in _OF_CALLS:
        return _OF_CALLS[name]
    if name in PosteriorSpec.model_fields:
        return f"write posterior={{'{name}': ...}}"
    if words := hint("posterior", name) or hint("sgld", name):
        return _of_call(words, known)
    homes = [model.__name__ for model in SAMPLERS.values() if name in model.model_fields]
    if homes:
        return f"write sampler={homes[0]}({name}=...); it is a field of {', '.join(homes)}"
    return suggest(name, {*known})


def _of_call(words: str, known: list[str]) -> str:
    """Return what the hint for an experiment says, for a call."""
    if argument := _ARGUMENT.search(words):
        return f"write {argument[1]}"
    words = words.replace(" in posterior:", "")
    found = _WRITE.match(words)
    if found is None:
        return "remove it: nothing here corresponds to it" if "LAMBDA_HAT" in words else words
    key, value, second, other = found.groups()
    if key == "name":
        return "write sampler='sgld', or another"
    why = words[found.end() :]
    if key in known:
        return f"write {key}={why}"
    pairs = [(key, value)] if second is None else [(key, value), (second, other)]
    if key in PosteriorSpec.model_fields:
        written = ", ".join(f"'{name}': {_python(text)}" for name, text in pairs)
        return f"write posterior={{{written}}}{why}"
    return f"write sampler=Sgld({', '.join(f'{n}={_python(text)}' for n, text in pairs)}){why}"


def _python(value: str | None) -> str:
    """Return a value as Python writes it, such as `{'precision': ...}`, or three dots for none."""
    return re.sub(r"[a-z]\w*", r"'\g<0>'", value or "...")
