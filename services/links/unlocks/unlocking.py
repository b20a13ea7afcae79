"""Decides about a password that a visitor has sent: limits first, then the hash, and a signed cookie for the right one."""

import hmac
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from services.links.links.rows import select_password
from services.links.unlocks.tries import begin_try, check_tries, end_wrong_try, try_keys
from services.links.web.errors import NotFound
from services.links.web.hashing import VISITOR_SLOTS, HashGate
from services.links.web.texts import spell_password
from shared.postgres import Pool, connection
from shared.records import LinkKey
from shared.settings import LinksSettings
from shared.unlocks import password_tag

DEADLINE_S = 1.0


class WrongPassword(Exception):
    """The link has another password."""


class _RightPassword(Exception):
    """Rolls the count of a try back."""


class Unlocker:
    """Checks passwords of visitors.

    Args:
        settings: The settings of the service.
        pool: Connections of its own, so that visitors take none from owners.
        gate: The slots for hashing.
        clock: The present moment.
    """

    def __init__(
        self,
        settings: LinksSettings,
        pool: Pool,
        gate: HashGate | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._secret = hmac.digest(settings.fastapi_secret_key.get_secret_value().encode(), b"password tries", "sha256")
        self._pool = pool
        self._gate = gate or HashGate(VISITOR_SLOTS)
        self.clock = clock or partial(datetime.now, UTC)

    async def check(self, key: LinkKey, password: str, address: str) -> str:
        """Check a password.

        Returns:
            The tag of the link's present password (`Record.password`).

        Raises:
            NotFound: There is no such link, or it has no password.
            WrongPassword: It is another one.
            TooManyTries: The address's network has to wait.
            TooManyRequests: Too many passwords are being checked.
        """
        async with connection(self._pool, deadline_s=DEADLINE_S) as conn:
            found = await select_password(conn, key)
            if found is None:
                raise NotFound("There is no link with a password at this code.")
            link_id, password_hash = found
            keys = try_keys(self._secret, link_id, address)
            # Most refusals end here, before the queue and without a write.
            await check_tries(conn, keys, self.clock())
        async with self._gate.slot(keys.network), connection(self._pool, deadline_s=DEADLINE_S) as conn:
            with suppress(_RightPassword):
                async with conn.transaction():
                    now = self.clock()
                    await begin_try(conn, keys, now)
                    if await self._gate.matches(password_hash, spell_password(password)):
                        raise _RightPassword
                    await end_wrong_try(conn, keys, now)
                raise WrongPassword
        return password_tag(password_hash)

    def close(self) -> None:
        self._gate.close()
