"""What a visitor without the password of a link gets: a form, or for a client of the API the challenge of HTTP Basic.

The pages have no script, cannot be framed, and name the target nowhere. `passwords.py` decides who gets which.
"""

import html
from dataclasses import replace

from services.redirect.answers import RETRY_AFTER_S, Answer, ErrorFormat, Header, error
from services.redirect.pages import page_headers

WRONG = "This is not the password. Please try again."
FOREIGN = "Please enter the password here."
COOKIES = "If this page comes again, allow cookies for this site."

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { display: grid; place-content: center; min-height: 90vh; margin: 0 1.5rem }
main { max-width: 22rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
form { display: grid; gap: .75rem }
input, button { font: inherit; padding: .6rem .75rem; border: 1px solid; border-radius: .4rem }
button { cursor: pointer; font-weight: 600 }
[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem }
"""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>{head}
<style>{style}</style>
<main>
<h1>{title}</h1>
{content}
</main>
</html>
"""
_FORM = """{alert}<form method="post" action="{action}">
<label for="password">Password</label>
<input id="password" name="password" type="password" required autofocus autocomplete="current-password"{described}>
<button>Open the link</button>
</form>"""
_SAFETY = page_headers(_STYLE, form_action="'self'")
_SAME_ORIGIN: Header = (b"referrer-policy", b"same-origin")
"""Of the form, so that its `Origin` is the site and not `null`."""
_NO_REFERRER: Header = (b"referrer-policy", b"no-referrer")
"""Of the page after it, so that no click has come from it."""


def ask(address: bytes, error_format: ErrorFormat, message: str = "") -> Answer:
    """Return the form, or for a client of the API the challenge.

    Args:
        address: The path and query, to which the form is sent.
        error_format: What the visitor takes.
        message: What went wrong before.
    """
    if error_format == "json":
        challenge = (b"www-authenticate", b'Basic realm="link", charset="UTF-8"')
        answer = error(401, "json")
        return replace(answer, headers=(*answer.headers, challenge))
    alert = f'<p role="alert" id="message">{html.escape(message)}</p>\n' if message else ""
    action = html.escape(address.decode("latin-1"))
    form = _FORM.format(alert=alert, action=action, described=' aria-describedby="message"' if message else "")
    return _page("This link has a password", form, _SAME_ORIGIN)


def ask_later(address: bytes, error_format: ErrorFormat, seconds: str = "") -> Answer:
    """Return that there are too many tries; for a browser with the form, to send it again then."""
    wait = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else RETRY_AFTER_S
    retry_after = (b"retry-after", b"%d" % wait)
    if error_format == "json":
        answer = error(429, "json")
    else:
        answer = replace(
            ask(address, error_format, f"There are too many tries. Please try again in {_spell(wait)}."), status=429
        )
    return replace(answer, headers=(*answer.headers, retry_after))


def open_link(address: bytes, set_cookie: bytes | None = None) -> Answer:
    """Return the page that opens the link at once, as a visit with the cookie.

    It is no redirect. Chromium lets a form lead only to what its page's `form-action` allows, through every redirect, and the
    page must not name the target. `refresh` is a navigation of its own.
    """
    action = html.escape(address.decode("latin-1"))
    head = f'\n<meta http-equiv="refresh" content="0; url={action}">'
    page = _page("The link opens", f'<p><a href="{action}">Open it now</a>. {COOKIES}</p>', _NO_REFERRER, head)
    cookie = () if set_cookie is None else ((b"set-cookie", set_cookie),)
    return replace(page, headers=(*page.headers, *cookie))


def _page(title: str, content: str, referrer_policy: Header, head: str = "") -> Answer:
    body = _PAGE.format(title=title, content=content, head=head, style=_STYLE).encode()
    lengths = ((b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    return Answer(200, (*_SAFETY, referrer_policy, *lengths), body)


def _spell(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} second{'s'[: seconds != 1]}"
    minutes = -(-seconds // 60)
    return f"{minutes} minute{'s'[: minutes != 1]}" if minutes < 120 else f"{-(-minutes // 60)} hours"
