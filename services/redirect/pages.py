"""What the pages of the redirect service have in common: previews, and the form of a password."""

import base64
import hashlib

from services.redirect.answers import NO_STORE, ROBOTS, Header


def page_headers(style: str, *, form_action: str = "'none'") -> tuple[Header, ...]:
    """Return the headers of a page that strangers see: no script, no frame around it, kept by nobody.

    Args:
        style: The text between its `<style>` tags, the only one that it may have.
        form_action: Where its forms may lead, as in Content-Security-Policy.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action {form_action}; "
        "frame-ancestors 'none'"
    )
    return (
        (b"content-security-policy", policy.encode()),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        ROBOTS,
        (b"cache-control", NO_STORE),
    )
