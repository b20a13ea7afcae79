"""What the settings say of this installation, ready for the routes."""

import hmac
from urllib.parse import urlsplit

from services.links.links.targets import TargetRules
from services.links.web.cursors import Cursors
from shared.codes import code_path
from shared.domains import www_aliases
from shared.records import LinkKey
from shared.settings import LinksSettings


class Site:
    """The domains of the short links, the rules of their targets, and what is signed or disguised with the secret.

    Attributes:
        is_https: Whether visitors come by HTTPS.
    """

    def __init__(self, settings: LinksSettings) -> None:
        base = urlsplit(settings.public_base_url)
        self.default_domain = settings.default_domain
        self.own_domains = settings.own_domains
        self.aliases = www_aliases(self.own_domains)
        self.rules = TargetRules(
            own_domains=(*self.own_domains, *self.aliases),
            allow_private=settings.allow_private_targets,
            schemes=settings.target_schemes,
        )
        previous = settings.fastapi_secret_key_previous
        self.cursors = Cursors(
            settings.fastapi_secret_key.get_secret_value().encode(),
            previous.get_secret_value().encode() if previous else None,
        )
        self.is_https = base.scheme == "https"
        self._disguise = hmac.digest(settings.fastapi_secret_key.get_secret_value().encode(), b"disguise", "sha256")
        port = "" if base.port is None else f":{base.port}"
        self._bases = {domain: f"{base.scheme}://{domain}{port}/" for domain in self.own_domains}

    def disguise(self, text: str) -> bytes:
        """Return what stands for a secret text where equal ones have to be found. Nobody can guess it without our secret."""
        return hmac.digest(self._disguise, text.encode(), "sha256").hex().encode()

    def short_url(self, key: LinkKey) -> str:
        """The address of a short link; a domain that was taken out of the settings is spelled like the others."""
        domain, code = key
        return self._bases.get(domain, f"https://{domain}/") + code_path(code)
