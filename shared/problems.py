"""The errors that a visitor reads. nginx and the redirect service have the same texts.

`services/redirect/answers.py` sends them, and `deploy/nginx/files.py` writes them into the configuration of nginx.
"""

from typing import NamedTuple

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ display: grid; place-content: center; min-height: 90vh; margin: 0 1.5rem; text-align: center }}
</style>
{look}<h1>{title}</h1>
<p>{detail}</p>
</html>
"""
"""The page for a browser, with a name for its tab and the look of a domain. Other clients get problem+json (RFC 9457)."""


class VisitProblem(NamedTuple):
    """An error of a visit; title and detail are plain text without quotes, `$`, `<` and `&`.

    Attributes:
        kind: The end of the problem's type.
        title: Its name.
        detail: A sentence about what the visitor can do.
    """

    kind: str
    title: str
    detail: str


LIMITED = VisitProblem(
    "limited",
    "A link for a limited number of visitors",
    "Previews, scanners and programs get no further, so that they use up no visit. Open the link in a browser.",
)
"""The 403 of a visit that must not count."""

VISIT_PROBLEMS = {
    400: VisitProblem("bad-request", "Bad request", "The request is not one that this server understands."),
    401: VisitProblem(
        "password-needed", "Password needed", "Send the password of this link as HTTP Basic, with any user name."
    ),
    404: VisitProblem(
        "not-found", "Link not found", "There is no short link at this address. Check it for typing errors."
    ),
    405: VisitProblem("method-not-allowed", "Method not allowed", "A short link answers GET and HEAD."),
    408: VisitProblem("timeout", "Request timed out", "The request did not arrive in time."),
    410: VisitProblem("gone", "Link no longer available", "This short link has expired or was switched off."),
    412: VisitProblem(
        "precondition-failed", "Precondition failed", "What the request is conditional on does not hold."
    ),
    413: VisitProblem("body-too-large", "Body too large", "The body is larger than this address takes."),
    414: VisitProblem("address-too-long", "Address too long", "The address is longer than any short link."),
    421: VisitProblem("wrong-host", "Wrong host", "This server does not answer for that host name."),
    429: VisitProblem(
        "too-many-requests", "Too many requests", "Too many requests from your address. Please wait a moment."
    ),
    431: VisitProblem(
        "headers-too-large",
        "Headers too large",
        "A header of the request, such as its cookies, is longer than this server takes.",
    ),
    500: VisitProblem("internal", "Internal error", "Something went wrong here."),
    501: VisitProblem(
        "not-implemented", "Not implemented", "The request asks for something that this server does not do."
    ),
    503: VisitProblem("unavailable", "Not available right now", "Please try again in a moment."),
    505: VisitProblem("http-version", "HTTP version not supported", "This server speaks HTTP/1.1 and HTTP/2."),
}
"""The errors by status. For every other status nginx has the text of 503."""
