"""Checks BACKUP_COPY_CREDENTIALS: which names each storage takes, in which form; `storage.py` opens the storage with them."""

import re

from deploy.backup.files import BackupRefused
from deploy.backup.settings import BackupSettings

CREDENTIALS = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY"),
}

_FORMS = {
    "AWS_ENDPOINT_URL": r"https?://([0-9A-Za-z.-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/[0-9A-Za-z._/-]*)?",
    "AWS_REGION": r"[0-9A-Za-z-]+",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": r"true|false",
}
_FORM_EXAMPLES = {
    "AWS_ENDPOINT_URL": "https://s3.example.org",
    "AWS_REGION": "eu-central-1",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true or false",
}


def read_credentials(settings: BackupSettings, scheme: str) -> dict[str, str]:
    """Take the credentials out of the settings.

    Args:
        settings: With BACKUP_COPY_CREDENTIALS.
        scheme: Of the storage's URL, one of `CREDENTIALS`.

    Raises:
        BackupRefused: A name or a form is wrong, or half of a pair is missing; the message has no value.
    """
    text = settings.backup_copy_credentials.get_secret_value() if settings.backup_copy_credentials else ""
    if scheme == "gs" and text.lstrip().startswith("{"):
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": text}
    found = {}
    for line in text.split():
        name, equals, value = line.partition("=")
        if not equals or name not in CREDENTIALS[scheme]:
            raise BackupRefused(
                f"BACKUP_COPY_CREDENTIALS must be lines NAME=value, with {', '.join(CREDENTIALS[scheme])}"
            )
        found[name] = value
    for name, pattern in _FORMS.items():
        if name in found and not re.fullmatch(pattern, found[name]):
            raise BackupRefused(f"{name} in BACKUP_COPY_CREDENTIALS must be like {_FORM_EXAMPLES[name]}")
    if ("AWS_ACCESS_KEY_ID" in found) != ("AWS_SECRET_ACCESS_KEY" in found):
        raise BackupRefused(
            "BACKUP_COPY_CREDENTIALS must have both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"
        )
    return found
