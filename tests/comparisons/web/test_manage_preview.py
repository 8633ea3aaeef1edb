"""A campaign's preview is the page of the crowd under the stored rules, and stores nothing."""

import pytest
from django.db import connection
from django.urls import reverse

from tests.comparisons.making import make_account
from tests.comparisons.talking import live_campaign

pytestmark = pytest.mark.django_db
WRITES = ("INSERT", "UPDATE", "DELETE")


@pytest.mark.parametrize("objective", ["helpful", "harmless"])
@pytest.mark.parametrize("state", ["draft", "live"])
def test_a_preview_shows_the_crowds_page_and_writes_nothing(client, objective, state):
    live_campaign(
        slug="busy", title="Busy", state=state, objective=objective,
        question="more_helpful" if objective == "helpful" else "more_harmful",
        conversations_per_assignment=3, turns_suggested=7, allows_write=True,
    )  # fmt: skip
    client.force_login(make_account("administrator"))

    asked: list[str] = []

    def noted(execute, sql, *rest):
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(noted):
        page = client.get(reverse("manage_preview", args=["busy"]))

    text = page.content.decode()
    assert page.status_code == 200
    assert asked
    assert [sql for sql in asked if sql.startswith(WRITES)] == []
    assert "Preview. Nothing is saved." in text
    assert "Turn 1 of about 7" in text
    assert "Conversation 1 of 3" in text
    assert text.count('name="point"') == 8
    assert ("Write your own response" in text) == (objective == "helpful")
    assert text.count('<details class="cover"') == (0 if objective == "helpful" else 2)
    assert 'class="staff' not in text
    assert "conversation.js" not in text


def test_the_campaigns_page_leads_to_its_preview(client):
    live_campaign(slug="busy")
    client.force_login(make_account("administrator"))

    page = client.get(reverse("manage_campaign", args=["busy"])).content.decode()

    assert f'<a class="btn" href="{reverse("manage_preview", args=["busy"])}">Preview</a>' in page
