"""The frozen base model, and the content hash that ids are made of."""

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lambda_hat_core.config.effect import without_effect

NUMERICS_VERSION = 15
"""Version that is increased whenever a code change alters results, so that ids change too."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys, NaN and infinity, and keys without effect.

    So two specifications that do the same have one id: a key that has no effect has its default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _keys_have_an_effect(self):
        for misfit in without_effect(type(self), self.__dict__):
            raise misfit
        return self


if TYPE_CHECKING:
    Settings = Frozen
else:

    class _Constructor(type(BaseModel)):
        """Reports mistakes of a call in the same words as mistakes of an experiment file."""

        def __call__(cls, **values: Any) -> Any:
            try:
                return super().__call__(**values)
            except ValidationError:
                from lambda_hat_core.config.sections import constructed
            return constructed(cls, values)

    class Settings(Frozen, metaclass=_Constructor):
        """A model that users construct in Python; mistakes are reported as for a file."""


def is_absent(value: object) -> bool:
    """Return whether an optional field is None, so that it is left out of the hash.

    The ids of specifications without such a field are those from before it was there.
    """
    return value is None


def content_hash(payload: Frozen) -> str:
    """Return the first 12 hex digits of sha256 over the RFC 8785 canonical JSON of `payload`."""
    return hashlib.sha256(canonical_json(payload)).hexdigest()[:12]


def canonical_json(payload: Frozen) -> bytes:
    """Return RFC 8785 canonical JSON, assembled from the cached JSON of each field.

    The runs of an experiment share samplers and posteriors, so most fields are in the cache.
    """
    fields = payload.model_dump(mode="json")
    parts = [
        b'"%s":%s' % (key.encode(), _canonical(json.dumps(fields[key]))) for key in sorted(fields)
    ]
    return b"{" + b",".join(parts) + b"}"


@lru_cache(maxsize=1024)
def _canonical(text: str) -> bytes:
    return rfc8785.dumps(json.loads(text))
