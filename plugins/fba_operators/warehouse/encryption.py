"""Encryption at rest with Airflow's Fernet key."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from airflow.sdk.crypto import get_fernet
from cryptography.fernet import InvalidToken

from fba_operators.errors import ConfigurationError

_VERSION = b"\x80"  # the first byte of every Fernet token


def encrypt(data: bytes) -> bytes:
    """Encrypt with Airflow's Fernet key; returns the token as bytes, which are a quarter less than its text.

    :raises ConfigurationError: Airflow has no key; nothing is stored unencrypted
    """
    fernet = get_fernet()
    if not fernet.is_encrypted:  # without a key Airflow's cipher returns plain text
        raise ConfigurationError(
            "Airflow has no Fernet key, so tokens and reports could only be stored unencrypted. "
            "Set AIRFLOW__CORE__FERNET_KEY to the same value for every Airflow component."
        )
    return urlsafe_b64decode(fernet.encrypt(data))


def decrypt(data: bytes) -> bytes:
    """Decrypt what :func:`encrypt` made, now or as text in earlier versions.

    :raises ConfigurationError: it was encrypted with a key that Airflow no longer has
    """
    token = bytes(data)
    try:
        return get_fernet().decrypt(urlsafe_b64encode(token) if token.startswith(_VERSION) else token)
    except InvalidToken:
        raise ConfigurationError(
            "This was encrypted with another Fernet key. Append that key to the present one in "
            "AIRFLOW__CORE__FERNET_KEY, separated by a comma, on every Airflow component."
        ) from None
