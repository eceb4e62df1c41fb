"""Signs artifacts with a secret key from the environment, so that serving can refuse others: HMAC-SHA256 (RFC 2104)."""

from __future__ import annotations

import hmac
import os

from multimodal_algo.core.errors import PlatformError

KEY_VARIABLE = "ARTIFACT_KEY"
"""The environment variable of the key. Without it nothing is signed and no signature is checked."""
_LEAST_CHARACTERS = 16


def is_signing() -> bool:
    """Return whether the environment has a key, so that artifacts are signed and checked."""
    return bool(os.environ.get(KEY_VARIABLE))


def signature_of(content: bytes) -> str:
    """Return the signature of `content` with the key from the environment, 64 hexadecimal digits.

    Raises
    ------
    PlatformError
        The key is shorter than 16 characters, so an attacker could guess it.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if len(key) < _LEAST_CHARACTERS:
        raise PlatformError(f"{KEY_VARIABLE} has {len(key)} characters. Use at least {_LEAST_CHARACTERS} random ones.")
    return hmac.digest(key.encode(), content, "sha256").hex()


def is_signature(given: str, content: bytes) -> bool:
    """Return whether `given` is the signature of `content` with the key from the environment."""
    return hmac.compare_digest(given.strip().encode(), signature_of(content).encode())
