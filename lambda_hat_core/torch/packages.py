"""The packages of the extra `torch`, imported where they are needed only."""

from importlib import import_module
from typing import Any


def package(name: str) -> Any:
    """Import and return `torch` or `torchax`.

    Raises:
        ModuleNotFoundError: if it is not installed; the error says how to install it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"from_torch needs {name}, which is not installed: pip install 'lambda-hat[torch]', "
            "or uv sync --extra torch",
            name=name,
        ) from error
