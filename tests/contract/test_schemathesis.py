"""The API does what its description says: Schemathesis sends what is allowed and what is not, and compares the answers."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.dashboard.site import DashboardSite

EXAMPLES = 25
"""Of each operation and phase."""

BEYOND_THE_SCHEMA = {
    "address": "an IP address",
    "body": "a file of a domain is UTF-8, or JSON",
    "cache_control": "not beside what a link decides by",
    "code": "reserved words, and on links that are not there",
    "country": "one of those that exist",
    "created_after": "JSON Schema has no bounds of a time",
    "created_before": "JSON Schema has no bounds of a time",
    "cursor": "a cursor is one that this server gave out",
    "domain": "one of the domains of this site",
    "encoding": "a name that Python knows",
    "expired_url": "what is a URL, and where one may lead, is what the WHATWG's parser and the rules of targets say",
    "expires_at": "lies in the future",
    "filename": "characters that Postgres has not",
    "from": "lies before `to`, or before now",
    "interval": "a range holds at most 2,000 of them",
    "link": "each of the list is a code of this site",
    "name": "characters that nobody sees",
    "not_found_url": "a URL, with `{code}` in its path or query",
    "notes": "characters that nobody sees",
    "owner": "characters that Postgres has not",
    "page_title": "characters that nobody sees",
    "password": "characters that nobody types",
    "q": "characters that Postgres has not",
    "robots": "characters that Postgres has not",
    "root_url": "what is a URL, and where one may lead, is what the WHATWG's parser and the rules of targets say",
    "rules": "names of their own, at least one condition, and values that exist: countries, time zones, networks, domains",
    "split": "names of their own, of characters that one sees",
    "status_code": "302 or 307 beside what a link decides by",
    "tag": "characters that nobody sees",
    "tags": "characters that nobody sees",
    "time": "JSON Schema has no bounds of a time",
    "time_zone": "a name of the IANA's database",
    "title": "characters that nobody sees",
    "to": "lies after `from`",
    "url": "what is a URL, and where one may lead, is what the WHATWG's parser and the rules of targets say",
    "valid_from": "lies before `expires_at`",
    "zone": "a name of the IANA's database",
}
"""Fields that may be refused although the schema allows them, and the rule that JSON Schema cannot say."""

ABOUT_THE_STATE = {
    "urn:tinyurl:problem:idempotency-conflict": "the key came with another request before",
    "urn:tinyurl:problem:not-acceptable": "any text may be sent as Accept",
    "urn:tinyurl:problem:version-mismatch": "any text may be sent as If-Match; the link has another version",
}

BY_DESIGN = {
    ("AllowHeaderMismatch", "/api/v1/keys/current"): "it is also the address of a key",
    ("AllowHeaderMismatch", "/api/v1/links/batch"): "it is also the address of a link with the code `batch`",
    ("AcceptedNegativeData", "/api/v1/links/batch"): "a row that is refused stops no other",
    ("UseAfterFree", "/api/v1/imports/{import_id}"): "an import that is undone can still be read",
}


def failures(report: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each failed check, and the answer that it was about."""
    with report.open() as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder") or {}
            for case, checks in recorder.get("checks", {}).items():
                for check in checks:
                    if check["status"] == "failure":
                        yield check["failure_info"]["failure"], recorder["interactions"][case]["response"]


def is_by_design(failure: dict[str, Any], response: dict[str, Any]) -> bool:
    if (failure["type"], failure["operation"].partition(" ")[2]) in BY_DESIGN:
        return True
    content = base64.b64decode(response["content"]["$base64"])
    if failure["type"] == "UseAfterFree":
        # The code of a deleted link is told to be taken.
        return b'"available":false' in content
    if failure["type"] != "RejectedPositiveData":
        return False
    problem = json.loads(content)
    if problem["type"] != "urn:tinyurl:problem:invalid-input":
        return problem["type"] in ABOUT_THE_STATE
    return {error["field"].partition(".")[0] for error in problem["errors"]} <= set(BEYOND_THE_SCHEMA)


def test_answers_are_those_of_the_description(site: DashboardSite, tmp_path: Path) -> None:
    """No answer differs from its description, but for the rules above; the key in use is not deleted."""
    report = tmp_path / "report.ndjson"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{site.url}/openapi.json", "--checks", "all"),
            *("--max-examples", str(EXAMPLES), "--generation-deterministic", "--continue-on-failure", "--no-shrink"),
            *("--exclude-path-regex", r"keys/\{key_id\}", "--header", f"Authorization: Bearer {site.stack.api_key}"),
            *("--request-timeout", "10", "--report-ndjson-path", str(report), "--output-sanitize", "false"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found = list(failures(report))
    wrong = [
        (failure["operation"], failure["title"], failure["message"], base64.b64decode(response["content"]["$base64"]))
        for failure, response in found
        if not is_by_design(failure, response)
    ]

    assert found, "not even what is by design was found: was anything sent?"
    assert not wrong, "\n".join(str(each) for each in wrong)
    assert "errors" not in done.stdout.rpartition("\n=")[2], done.stdout
