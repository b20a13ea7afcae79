"""How YOURLS writes an answer: JSON, JSONP, XML, or one line of text; the HTTP status is the one within."""

import json
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from starlette.responses import Response

from services.links.web.errors import Problem

Fields = dict[str, object]
"""An answer. `simple` is its text in the format of that name alone."""

NEED_FORMAT = "Need either XML or JSON format for stats"

_is_callback = re.compile(r"[a-zA-Z0-9_$.]+").fullmatch
_escaped_character = re.compile(r"\\?u[0-9a-fA-F]{4}").search
_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(sent: Mapping[str, str], fields: Fields, headers: Mapping[str, str] | None = None) -> Response:
    """Write an answer in the format that was asked for; without one it is XML, and an unknown one is text.

    Args:
        sent: The parameters.
        fields: The answer.
        headers: Of a problem.
    """
    simple = str(fields.pop("simple", ""))
    status = int(str(fields.get("statusCode") or fields.get("errorCode") or 200))
    callback = sent.get("callback", sent.get("jsonp"))
    if callback is not None:
        fields["callback"] = callback
    match sent.get("format", "xml"):
        case "json":
            text, media_type = _json(fields), "application/json"
        case "jsonp":
            text, media_type = f"{callback or ''}({_json(fields)})", "application/javascript"
            if not is_callable(sent):
                status, text = 400, _json({"errorCode": "400", "error": "Invalid callback parameter"})
        case "xml":
            text, media_type = (
                f'<?xml version="1.0" encoding="UTF-8"?>\n<root>{_xml(fields)}</root>\n',
                "application/xml",
            )
        case _:
            text, media_type = simple, "text/plain"
    return Response(text, status, headers, media_type=media_type)


def is_callable(sent: Mapping[str, str]) -> bool:
    """Whether an answer can be written: JSONP has the name of a function. Without one nothing calls what comes."""
    callback = sent.get("callback", sent.get("jsonp"))
    is_wrong = callback is not None and (not _is_callback(callback) or bool(_escaped_character(callback)))
    return sent.get("format") != "jsonp" or not is_wrong


def refusal(action: str | None, problem: Problem) -> Fields:
    """Return the answer to what went wrong, without a code of its own."""
    message, status = problem.detail, str(400 if problem.status == 422 else problem.status.value)
    if status == "403":
        return {"message": message, "errorCode": status, "callback": "", "simple": message}
    if action == "shorturl":
        return failure("error:db" if problem.status >= 500 else "error", message, status)
    return {"message": message, "errorCode": status, "simple": message}


def failure(code: str, message: str, status: str = "400") -> Fields:
    """Return the answer to a link that was not created."""
    return {"status": "fail", "code": code, "message": message, "errorCode": status, "statusCode": status}


def _json(fields: Fields) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _xml(fields: Mapping[str, object]) -> str:
    """Each member is an element of its name, which is always one of ours."""
    return "".join(
        f"<{name}>{_xml(value) if isinstance(value, dict) else escape(_not_xml.sub(chr(0xFFFD), str(value)))}</{name}>"
        for name, value in fields.items()
    )
