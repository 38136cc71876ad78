"""The frozen base model and the content hash that makes ids."""

import hashlib

import rfc8785
from pydantic import BaseModel, ConfigDict

NUMERICS_VERSION = 1
"""Raised whenever code changes results, so that old artifacts get other ids."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def content_hash(payload: Frozen) -> str:
    """Return the first 12 hex digits of sha256 over the RFC 8785 canonical JSON of `payload`."""
    canonical = rfc8785.dumps(payload.model_dump(mode="json"))
    return hashlib.sha256(canonical).hexdigest()[:12]
