"""The page Keys over the real write service."""

from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from services.dashboard.pages.keys import page as keys_page
from shared.client import Client
from tests.dashboard.hostile import HOSTILE
from tests.dashboard.stack import Stack, labelled, markdown_of, texts_of


def create(page: AppTest, owner: str, name: str = "") -> AppTest:
    labelled(page.text_input, "Owner").set_value(owner)
    labelled(page.text_input, "Name").set_value(name)
    labelled(page.button, "Create key").click()
    return page.run()


def select(page: AppTest, owner: str) -> AppTest:
    row = page.dataframe[0].value["Owner"].tolist().index(owner)
    page.session_state["keys_table"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return page.run()


def test_a_key_is_shown_once_and_works(stack: Stack) -> None:
    """The text of a new key is there until it is copied, and never again; the key does what was chosen."""
    page = stack.page(keys_page, "root", "admin").run()
    labelled(page.multiselect, "Scopes").set_value(["links:read"])
    page.datetime_input[0].set_value((datetime.now(UTC) + timedelta(days=1)).replace(tzinfo=None))
    create(page, "bob", "for a test")
    (text,) = [each.value for each in page.code]
    with Client(stack.url, text) as bob:
        key = bob.current_key()
    labelled(page.button, "I have copied it").click().run()

    assert not page.exception
    assert (key.owner, key.name, key.scopes) == ("bob", "for a test", ("links:read",))
    assert key.expires_at is not None
    assert not page.code
    assert text not in texts_of(page)


def test_keys_are_listed_with_their_state(stack: Stack) -> None:
    """All keys are there, the newest first, and one's own is marked."""
    page = stack.page(keys_page, "root", "admin")
    with stack.client("alice") as client:
        shown = page.run().dataframe[0].value
        assert client.current_key().owner == "alice"

    assert shown["Owner"].tolist() == ["alice", "root"]
    assert shown["State"].tolist() == ["valid", "yours"]
    assert [list(scopes) for scopes in shown["Scopes"]][1] == ["admin"]


def test_a_key_is_revoked_after_a_question(stack: Stack) -> None:
    """The first press asks, the second one revokes; a revoked key stays in the list."""
    stack.key("bob")
    page = select(stack.page(keys_page, "root", "admin").run(), "bob")
    labelled(page.button, "Revoke").click().run()
    before = page.dataframe[0].value["State"].tolist()
    labelled(page.button, "Revoke key").click().run()
    after = page.dataframe[0].value["State"].tolist()

    assert not page.exception
    assert sorted(before) == ["valid", "yours"]
    assert sorted(after) == ["revoked", "yours"]
    assert "revoked already" in texts_of(page)


def test_one_is_warned_of_revoking_the_own_key(stack: Stack) -> None:
    """Who revokes the key that he is signed in with knows it."""
    page = select(stack.page(keys_page, "root", "admin").run(), "root")
    labelled(page.button, "Revoke").click().run()

    assert "the key that you are signed in with" in page.warning[0].value


def test_the_last_admin_key_is_revoked_after_a_warning(stack: Stack) -> None:
    """The dialog says that no admin is left; who presses all the same has revoked it."""
    page = select(stack.page(keys_page, "root", "admin").run(), "root")
    labelled(page.button, "Revoke").click().run()
    warnings = [each.value for each in page.warning]
    labelled(page.button, "Revoke key").click().run()
    with stack.client("alice", "admin") as client:
        states = {key.owner: key.revoked_at is not None for key in client.list_keys()}

    assert any("the last admin key" in each for each in warnings)
    assert states == {"root": True, "alice": False}


@pytest.mark.parametrize("owner", ["", "a b", "<script>alert(1)</script>"])
def test_a_wrong_owner_is_told_beside_it(stack: Stack, owner: str) -> None:
    """The API's reason is below the field."""
    page = create(stack.page(keys_page, "root", "admin").run(), owner)

    assert not page.exception
    assert len(page.error) == 1
    assert page.error[0].value.startswith("The owner ")
    assert not page.code


@pytest.mark.parametrize("text", HOSTILE)
def test_a_keys_name_is_never_markdown(stack: Stack, text: str) -> None:
    """A hostile name is a cell of text, and text in the question before it is revoked."""
    page = create(stack.page(keys_page, "root", "admin").run(), "bob", text)
    seen = [markdown_of(page)]
    select(page, "bob")
    labelled(page.button, "Revoke").click().run()
    seen.append(markdown_of(page))

    assert not page.exception
    assert text in page.dataframe[0].value["Name"].tolist()
    assert not any(text in each for each in seen)
