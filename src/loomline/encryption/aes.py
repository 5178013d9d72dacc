"""The built-in encryption: AES-256-GCM with keys from the environment.

encryption = AesEncryption(parse_keys(os.environ["MY_KEYS"]))
"""

from __future__ import annotations

import base64
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from loomline.encryption.types import EncryptionContext, Json

__all__ = ["AesCipher", "AesEncryption", "UnknownKey"]

_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(_VERSION) + _KEY_ID_BYTES + _SALT_BYTES + _NONCE_BYTES

# So many random nonces under one key: the chance that two are the same is below 2**-40.
_MESSAGES_PER_SALT: Final = 2**28
_DERIVED_MOST: Final = 1024
_PREFIX: Final = "aes:"


class UnknownKey(Exception):
    """Something was encrypted with a key that is not among those configured, or was changed."""


class AesCipher:
    """Encrypts with the first of some keys, decrypts with whichever was used.

    What is encrypted names its key, and the salt that the key used was derived with. Each process
    has its own salt, so that all processes of a server together do not use up one key.

    Args:
        keys: 16 bytes or more each. To replace a key put the new one in front, and drop the old
            one when nothing is left that it has encrypted.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("There must be a key.")
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._first = _key_id(keys[0])
        self._lock = threading.Lock()
        self._derived: OrderedDict[tuple[bytes, bytes], AESGCM] = OrderedDict()
        self._salt = os.urandom(_SALT_BYTES)
        self._used = 0

    def encrypt(self, data: bytes) -> bytes:
        """Return data encrypted."""
        salt, nonce = self._current_salt(), os.urandom(_NONCE_BYTES)
        head = b"%b%b%b%b" % (_VERSION, self._first, salt, nonce)
        return head + self._cipher(self._first, salt).encrypt(nonce, data, head)

    def decrypt(self, data: bytes) -> bytes:
        """Return data decrypted.

        Raises:
            UnknownKey: its key is not there, or it is not what was once encrypted.
        """
        head = data[:_HEAD_BYTES]
        key_id = head[1 : 1 + _KEY_ID_BYTES]
        if len(head) < _HEAD_BYTES or head[:1] != _VERSION or key_id not in self._keys:
            raise UnknownKey("No configured key fits.")
        salt = head[1 + _KEY_ID_BYTES : 1 + _KEY_ID_BYTES + _SALT_BYTES]
        nonce = head[-_NONCE_BYTES:]
        try:
            return self._cipher(key_id, salt).decrypt(nonce, data[_HEAD_BYTES:], head)
        except InvalidTag:
            raise UnknownKey("It has been changed since it was encrypted.") from None

    def _current_salt(self) -> bytes:
        with self._lock:
            self._used += 1
            if self._used > _MESSAGES_PER_SALT:
                self._salt, self._used = os.urandom(_SALT_BYTES), 1
            return self._salt

    def _cipher(self, key_id: bytes, salt: bytes) -> AESGCM:
        place = (key_id, salt)
        with self._lock:
            found = self._derived.get(place)
            if found is not None:
                self._derived.move_to_end(place)
                return found
        derived = HKDF(SHA256(), 32, salt, b"loomline aes-gcm").derive(self._keys[key_id])
        made = AESGCM(derived)
        with self._lock:
            self._derived[place] = made
            if len(self._derived) > _DERIVED_MOST:
                self._derived.popitem(last=False)
        return made


class AesEncryption:
    """Handlers for a server, like those of an ``Encryption``.

    Metadata stays readable unless told otherwise: searches and authorization look into it.

    Args:
        keys: As ``AesCipher`` has them.
        metadata_keys: Names in metadata whose values are encrypted as well; ``*``: all.
    """

    def __init__(self, keys: Sequence[bytes], metadata_keys: Collection[str] = ()) -> None:
        self._cipher = AesCipher(keys)
        self._metadata_keys = frozenset(metadata_keys)
        # Servers of any maker read these, by these names.
        self._blob_encryptor = self._encrypt_blob
        self._blob_decryptor = self._decrypt_blob
        self._json_encryptor = self._encrypt_json
        self._json_decryptor = self._decrypt_json
        self._context_handler = None

    def __repr__(self) -> str:
        return "AesEncryption()"

    async def _encrypt_blob(self, _: EncryptionContext, data: bytes) -> bytes:
        return self._cipher.encrypt(data)

    async def _decrypt_blob(self, _: EncryptionContext, data: bytes) -> bytes:
        return self._cipher.decrypt(data)

    async def _encrypt_json(self, ctx: EncryptionContext, data: Json) -> Json:
        if ctx.field != "metadata" or ctx.model == "checkpoint" or "*" in self._metadata_keys:
            return {key: self._text(each) for key, each in data.items()}
        chosen = self._metadata_keys
        return {key: self._text(each) if key in chosen else each for key, each in data.items()}

    async def _decrypt_json(self, _: EncryptionContext, data: Json) -> Json:
        return {key: self._value(each) for key, each in data.items()}

    def _text(self, value: object) -> str:
        return _PREFIX + base64.b64encode(self._cipher.encrypt(orjson.dumps(value))).decode()

    def _value(self, text: Any) -> object:  # noqa: ANN401 - whatever is in the database
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            raise UnknownKey("It was encrypted by something else.")
        raw = base64.b64decode(text.removeprefix(_PREFIX))
        found: object = orjson.loads(self._cipher.decrypt(raw))
        return found


def _key_id(key: bytes) -> bytes:
    return sha256(b"loomline key id" + key).digest()[:_KEY_ID_BYTES]
