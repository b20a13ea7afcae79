"""The version of what is edited: its `ETag`, and the `If-Match` of an edit that is for one version alone."""

from services.links.web.errors import VersionMismatch


def etag(version: int) -> str:
    return f'"{version}"'


def check_version(version: int, if_match: str | None, *, name: str = "link") -> None:
    """Refuse an edit of another version.

    Args:
        version: The version that is stored.
        if_match: The header of the client, if it sent one.
        name: Of what is edited, for the error.

    Raises:
        VersionMismatch: The header names another version.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version) not in (tag.strip() for tag in if_match.split(",")):
        raise VersionMismatch(f"The {name} is at version {version}.")
