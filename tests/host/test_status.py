"""What `status` says of the backups."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.host.site import HostSite
from deploy.host.status import _backup


@pytest.fixture
def site(tmp_path: Path) -> HostSite:
    (tmp_path / "backups").mkdir()
    return HostSite(tmp_path, {}, "tinyurl", "r", "https://sho.rt")


def add_backup(site: HostSite, name: str, age: timedelta) -> Path:
    dump = site.root / "backups" / f"tinyurl-{name}.dump"
    dump.touch()
    began_at = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
    dump.with_suffix(".json").write_text(json.dumps({"began_at": began_at}))
    return dump


def test_age_is_what_the_manifest_says(site: HostSite) -> None:
    """Neither a file's own date, nor a dump without a manifest, nor one from the future makes an old backup young."""
    dump = add_backup(site, "old", timedelta(hours=30))
    (site.root / "backups" / "tinyurl-foreign.dump").touch()
    (site.root / "backups" / "tinyurl-garbled.dump").touch()
    (site.root / "backups" / "tinyurl-garbled.json").write_text("[]")
    add_backup(site, "future", timedelta(days=-365))
    os.utime(dump)

    assert list(_backup(site)) == [
        "backup: 30 hours old   <- too old",
        "backup: 1 dated in the future   <- was the clock wrong?",
    ]


def test_copies_that_are_missing_are_told(site: HostSite) -> None:
    """A backup that is not off the host yet is said to be so."""
    add_backup(site, "a", timedelta(hours=1)).with_suffix(".pending").touch()

    assert list(_backup(site)) == ["backup: 1 hours old", "backup: 1 not copied off the host yet"]
