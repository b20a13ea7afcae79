"""The cookie that keeps a person signed in: the API key itself, encrypted, so that no process has to remember anyone.

The sign-in writes it; the guard and the pages read it. Any process with the same secret can, today and after a deployment.
"""

import base64
import time
from collections.abc import Callable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COOKIE = "tinyurl_key"
PATH = "/dashboard"

DAY_S = 86400

_LONGEST = 2048


class KeyCookies:
    """Writes and reads the cookie's value: a Fernet token (AES-128-CBC and HMAC-SHA256, with the time it was made).

    Args:
        secret: What its key is derived from.
        previous: The secret before, whose cookies are still read.
        days: How long a cookie counts.
        clock: Tells the time, seconds since 1970.
    """

    def __init__(
        self, secret: str, previous: str | None = None, *, days: int = 14, clock: Callable[[], float] = time.time
    ) -> None:
        self._fernet = MultiFernet([Fernet(_derive(each)) for each in (secret, previous) if each])
        self.max_age_s = days * DAY_S
        self._clock = clock

    def write(self, api_key: str) -> str:
        return self._fernet.encrypt_at_time(api_key.encode(), int(self._clock())).decode()

    def read(self, value: str | None) -> str | None:
        """Return the API key; None if we did not make the cookie, or if it is too old."""
        return self._open(value, self.max_age_s)

    def is_ours(self, value: str | None) -> bool:
        """Tell whether we made the cookie, even if it is too old."""
        return self._open(value, None) is not None

    def _open(self, value: str | None, max_age_s: int | None) -> str | None:
        if not value or len(value) > _LONGEST:
            return None
        try:
            if max_age_s is None:
                return self._fernet.decrypt(value).decode()
            return self._fernet.decrypt_at_time(value, max_age_s, int(self._clock())).decode()
        except (InvalidToken, ValueError):
            return None


def _derive(secret: str) -> bytes:
    key = HKDF(SHA256(), length=32, salt=None, info=b"tinyurl dashboard cookie").derive(secret.encode())
    return base64.urlsafe_b64encode(key)
