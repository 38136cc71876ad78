"""The frozen base model and the content hash that makes ids."""

import hashlib
import json
from functools import lru_cache

import rfc8785
from pydantic import BaseModel, ConfigDict

NUMERICS_VERSION = 1
"""Raised whenever code changes results, so that old artifacts get other ids."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def content_hash(payload: Frozen) -> str:
    """Return the first 12 hex digits of sha256 over the RFC 8785 canonical JSON of `payload`."""
    return hashlib.sha256(canonical_json(payload)).hexdigest()[:12]


def canonical_json(payload: Frozen) -> bytes:
    """Return RFC 8785 canonical JSON, put together from that of each field.

    The runs of an experiment share their samplers and posteriors, so that most fields are known.
    """
    fields = payload.model_dump(mode="json")
    parts = [
        b'"%s":%s' % (key.encode(), _canonical(json.dumps(fields[key]))) for key in sorted(fields)
    ]
    return b"{" + b",".join(parts) + b"}"


@lru_cache(maxsize=1024)
def _canonical(text: str) -> bytes:
    return rfc8785.dumps(json.loads(text))
