"""What encrypts the storage: the user's ``Encryption``, or keys in the environment."""

from __future__ import annotations

from loomline.encryption.keys import parse_keys
from loomline.server.graphs.loader import load_attribute
from loomline.server.settings import Settings, SettingsError
from loomline.server.storage.sealing import Sealer

_HANDLERS = ("_blob_encryptor", "_json_encryptor")


def make_sealer(settings: Settings) -> Sealer | None:
    """Return what encrypts, None where nothing is to be encrypted.

    Raises:
        SettingsError: both a path and keys are given, a package is missing, or what the path names
            cannot be used.
        GraphLoadError: what the path names cannot be imported.
    """
    spec, keys = settings.encryption, parse_keys(settings.encryption_keys)
    if spec is None:
        return _of_keys(keys, settings.encryption_metadata_keys) if keys else None
    if keys:
        raise SettingsError(
            'There are "encryption.path" in langgraph.json and LOOMLINE_ENCRYPTION_KEYS: use one'
            " of the two."
        )
    found = load_attribute(spec)
    if not all(hasattr(found, name) for name in _HANDLERS):
        raise SettingsError(
            f"'{spec.source}' in \"encryption.path\" is of type '{type(found).__name__}'. It must"
            " be an Encryption of loomline or langgraph_sdk."
        )
    try:
        return Sealer(found)
    except ValueError as error:
        raise SettingsError(f"'{spec.source}' in \"encryption.path\": {error}") from None


def _of_keys(keys: tuple[bytes, ...], metadata_keys: str) -> Sealer:
    try:
        from loomline.encryption.aes import AesEncryption  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            "Encryption with LOOMLINE_ENCRYPTION_KEYS needs cryptography, which is not installed."
            ' Install it with: pip install "loomline[server,encryption]"'
        ) from error
    names = [name.strip() for name in metadata_keys.split(",") if name.strip()]
    return Sealer(AesEncryption(keys, names), inline=True)
