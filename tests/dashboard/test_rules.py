"""Rules and splits in the dashboard: edited as JSON, refused by rule and place, explained, and counted."""

import json

from streamlit.testing.v1 import AppTest

from services.dashboard.pages.links import page as links_page
from services.dashboard.pages.statistics import page as statistics_page
from services.links.clicks.enrichment import Enricher
from tests.dashboard.stack import Stack, labelled, texts_of
from tests.dashboard.test_links import make, tick
from tests.links.click_data import click

URL = "https://www.example.com/"
RULES = [{"name": "phones", "if": {"device": ["mobile"]}, "url": f"{URL}phone"}]
SPLIT = [{"name": "a", "url": f"{URL}a", "weight": 3}, {"name": "b", "url": f"{URL}b", "weight": 1}]


def read(page: AppTest) -> str:
    """The texts of a page without what keeps Markdown from taking signs for its own."""
    return texts_of(page).replace("\u2060\\", "")


def test_rules_are_edited_as_json(stack: Stack) -> None:
    """Rules and a split are typed in, told wrong by rule and place, stored, shown again and taken away."""
    with stack.client() as client:
        make(client, "one")
        page = tick(stack.page(links_page).run(), [0])
        labelled(page.button, "Edit").click().run()
        labelled(page.text_area, "Rules").set_value("[{").run()
        broken = read(page)
        labelled(page.text_area, "Rules").set_value(json.dumps([*RULES, {"if": {"moon": "full"}, "url": URL}]))
        labelled(page.button, "Save").click().run()
        refused = read(page)
        labelled(page.text_area, "Rules").set_value(json.dumps(RULES))
        labelled(page.text_area, "Split").set_value(json.dumps(SPLIT))
        labelled(page.button, "Save").click().run()
        stored = client.link("one", "sho.rt")
        page = tick(stack.page(links_page).run(), [0])
        labelled(page.button, "Edit").click().run()
        shown = json.loads(labelled(page.text_area, "Rules").value)
        labelled(page.text_area, "Rules").set_value("")
        labelled(page.button, "Save").click().run()
        left = client.link("one", "sho.rt")

    assert "The rules: this is no JSON in line 1, column 3." in broken
    assert "are wrong in rule 2, at if.moon: is not a field that can be set" in refused
    assert (stored.rules, stored.split) == (RULES, SPLIT)
    assert shown == RULES
    assert (left.rules, left.split, left.version) == (None, SPLIT, 3)


def test_rules_are_explained(stack: Stack) -> None:
    """The editor tells where a visitor goes whom one describes, and why the other rules do not hold."""
    with stack.client() as client:
        make(client, "one", rules=[*RULES, {"if": {"country": "NZ"}, "url": f"{URL}nz"}], split=SPLIT)
    page = tick(stack.page(links_page).run(), [0])
    labelled(page.button, "Edit").click().run()
    unknown = read(page)
    labelled(page.selectbox, "Device").set_value("mobile").run()
    phone = read(page)
    labelled(page.text_input, "Country").set_value("XX").run()
    wrong = read(page)

    assert not page.exception
    assert f"75% of these visitors: a → {URL}a" in unknown
    assert "phones does not hold: device is not known, not mobile." in unknown
    assert f"phones → {URL}phone" in phone
    assert "phones wins: all its conditions hold." in phone
    assert "rule 2 does not hold: country is not known, not NZ." in phone
    assert "Country must be a country's two letters" in wrong


def test_variants_are_counted(stack: Stack, enricher: Enricher) -> None:
    """The statistics of a link with rules have a chart of them; those of other links have none."""
    with stack.client() as client:
        make(client, "one", "two")
    one, two = stack.link_id("one"), stack.link_id("two")
    stack.store_clicks([click(two)], enricher)
    plain = stack.page(statistics_page).run()
    stack.store_clicks([click(one, variant=b"phones"), click(one, variant=b"a")], enricher)
    counted = stack.page(statistics_page).run()

    assert "Rules and splits" not in [each.value for each in plain.subheader]
    assert "Rules and splits" in [each.value for each in counted.subheader]
