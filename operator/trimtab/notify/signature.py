"""Signatures of webhooks: Standard Webhooks, symmetric (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

PREFIX = "whsec_"
LEAST_BYTES = 24
MOST_BYTES = 64
MOST_KEYS = 4


def read_keys(text: str) -> list[bytes]:
    """Return the keys of a file: `whsec_` and base64 each, with space between them.

    While a key is replaced there are two, and each request is signed by both. Raises ValueError,
    which says nothing of the key.
    """
    words = text.split()
    if not 1 <= len(words) <= MOST_KEYS:
        raise ValueError(f"there must be 1 to {MOST_KEYS} keys")
    return [_key(word) for word in words]


def _key(word: str) -> bytes:
    try:
        key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not word.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"a key is {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64")
    return key


def signed(keys: list[bytes], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """Return the three headers. timestamp: when it is sent, Unix seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }
