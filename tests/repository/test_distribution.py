"""How tests come to the workers of xdist."""

import pytest


@pytest.mark.xdist_group(name="together")
def test_group_stands_behind_the_name(request: pytest.FixtureRequest) -> None:
    """A worker tells a test's group at the end of its name, where xdist looks for it."""
    is_worker = hasattr(request.config, "workerinput")

    assert request.node.nodeid.endswith("@together") is is_worker
