"""HEAD is answered where GET is, as link checkers and monitors ask; a stream of events has no head."""

import pytest
from django.urls import reverse

from comparisons.models import Showing, WantedReply
from tests.comparisons.talking import agreed_person, answered, begun, live_campaign, said
from tests.comparisons.web.test_access import POST_ONLY, every_address

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_head_is_answered_like_get_on_every_page_and_without_a_body(client):
    campaign = live_campaign()
    turn = answered(said(begun(campaign, agreed_person(campaign))))
    client.force_login(turn.conversation.crowdworker.account)
    found = {}

    for name, url in every_address(turn).items():
        if name in POST_ONLY | {"turn_events", "preferences"}:
            continue
        wanted, head = client.get(url).status_code, client.head(url)
        found[name] = (wanted, head.status_code, head.content)

    assert len(found) >= 20
    assert {name: each for name, each in found.items() if each != (each[0], each[0], b"")} == {}
    assert not Showing.objects.filter(purpose="second_opinion").exists()
    assert not WantedReply.objects.exists()


def test_the_sign_in_page_has_a_head(client):
    assert client.head(reverse("sign_in")).status_code == 200
