"""Conversion of trees of arrays to JSON and plain arrays, and back, without pickle.

Only classes of this package are reconstructed, field by field: named tuples, Equinox modules and
configuration models.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from pydantic import BaseModel

_HOME = __name__.partition(".")[0]
Arrays = dict[str, np.ndarray]


def to_plain(value: Any, known: Mapping[str, Any]) -> tuple[Any, Arrays]:
    """Return a JSON-able structure and the arrays that it refers to by name.

    Args:
        value: a tree.
        known: objects that are stored by name only, such as the posterior. Every object of the
            same type as one of them is assumed to be that object.

    Raises:
        TypeError: if a part of the tree cannot be stored.
    """
    arrays: Arrays = {}

    def put(kind: str, array: Any) -> dict[str, str]:
        name = str(len(arrays))
        arrays[name] = np.asarray(array)
        return {kind: name}

    def plain(value: Any) -> Any:
        for name, other in known.items():
            if type(value) is type(other):
                return {"known": name}
        match value:
            case None | bool() | int() | float() | str():
                return {"value": value}
            case jax.Array() if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
                return put("key", jr.key_data(value)) | {"impl": str(jr.key_impl(value))}
            case jax.Array():
                return put("jax", value)
            case np.ndarray():
                return put("numpy", value)
            case BaseModel():
                return {"model": value.model_dump(mode="json"), "class": _name(type(value))}
            case eqx.Module():
                names = [field.name for field in dataclasses.fields(value)]
                fields = {name: plain(getattr(value, name)) for name in names}
                return {"module": fields, "class": _name(type(value))}
            case tuple() if hasattr(value, "_fields"):
                named: Any = value
                fields = {name: plain(part) for name, part in named._asdict().items()}
                return {"named": fields, "class": _name(type(value))}
            case tuple() | list():
                return {type(value).__name__: [plain(part) for part in value]}
            case dict():
                return {"dict": {key: plain(part) for key, part in value.items()}}
            case _:
                raise TypeError(f"a {type(value).__name__} cannot be stored without pickle")

    return plain(value), arrays


def from_plain(structure: Any, arrays: Mapping[str, np.ndarray], known: Mapping[str, Any]) -> Any:
    """Return the tree that `to_plain` was given, bit for bit.

    Raises:
        ValueError: if the structure is not one of `to_plain`, names a class outside of this
            package, or has other fields than the class has now.
    """

    def made(entry: Any) -> Any:
        match entry:
            case {"known": name}:
                return known[name]
            case {"value": value}:
                return value
            case {"key": name, "impl": impl}:
                return jr.wrap_key_data(jnp.asarray(arrays[name]), impl=impl)
            case {"jax": name}:
                return jnp.asarray(arrays[name])
            case {"numpy": name}:
                return arrays[name]
            case {"model": content, "class": name}:
                return _class(name).model_validate(content)
            case {"module": fields, "class": name}:
                return _module(_class(name), {field: made(part) for field, part in fields.items()})
            case {"named": fields, "class": name}:
                return _class(name)(**{field: made(part) for field, part in fields.items()})
            case {"tuple": parts}:
                return tuple(made(part) for part in parts)
            case {"list": parts}:
                return [made(part) for part in parts]
            case {"dict": parts}:
                return {key: made(part) for key, part in parts.items()}
            case _:
                raise ValueError(f"{entry!r} was not written by to_plain")

    return made(structure)


def _module(kind: type, fields: dict[str, Any]) -> Any:
    if fields.keys() != {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"{kind.__name__} has other fields than {', '.join(fields)}")
    module = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str) -> Any:
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] != _HOME:
        raise ValueError(f"{name} is not a class of {_HOME}")
    return getattr(importlib.import_module(module), qualified)
