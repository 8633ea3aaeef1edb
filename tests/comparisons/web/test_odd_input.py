"""Whatever is sent to a page of the crowd, the server answers for itself: never with an error of its own."""

import uuid
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.services import opinions, replies
from tests.comparisons.making import make_account
from tests.comparisons.practising import with_practice
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said
from tests.comparisons.web.test_access import every_address

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

FIELDS = (
    "text", "message_key", "after", "active_milliseconds", "layout", "intent", "topic", "comment",
    "rating", "success", "harmfulness", "actionability", "then", "point", "sha256_a", "sha256_b",
    "choice_key", "is_both_bad", "reason_tags", "reason_text", "side", "kind", "note", "reason",
    "next", "theme", "language", "has_single_keys", "key_skip", "has_read", "version", "comfort",
    "cover", "topics", "has_topics", "username", "password", "code", "state", "before", "again",
    "PROLIFIC_PID", "STUDY_ID", "SESSION_ID",
)  # fmt: skip
OF_ITEM = ("opinion_choice", "pass_opinion", "flag_opinion")
ODD = {
    "nothing": "", "nul": "a\x00b", "surrogate": "\ud800", "huge": str(10**30), "minus": "-1",
    "fraction": "1e9", "not a number": "NaN", "long": "x" * 100_000, "marks": "\u0301\u202e" * 2000,
    "path": "../../etc/passwd", "quote": "'; DROP TABLE x; --", "key": str(uuid.uuid4()),
    "template": "{{ 7|add:7 }}{% load x %}", "arabic digits": "\u0661\u0662", "emoji": "\U0001f9d1" * 50,
}  # fmt: skip


def sent(value: str) -> bytes:
    """A form in which every field says this, as a client that knows no UTF-8 rules would write it."""
    return urlencode([(name, value) for name in FIELDS], errors="surrogatepass").encode()


@pytest.mark.parametrize("name", ODD)
def test_no_field_of_any_page_breaks_the_server(name):
    campaign = live_campaign(
        allows_edit=True, allows_write=True, second_opinion_percent=100, human_reply_percent=100
    )
    chosen(answered(said(begun(campaign))))
    reader, writer = agreed_person(campaign), agreed_person(campaign)
    item, wanted = opinions.take(reader), replies.take(writer)
    turn = answered(said(begun(live_campaign(names=("x", "y"), allows_edit=True))))
    with_practice(turn.conversation.campaign, items=1, pass_mark=1)
    every = every_address(turn)
    every |= {
        **{each: reverse(each, args=[item.public_id]) for each in OF_ITEM},
        **{each: reverse(each, args=[wanted.public_id]) for each in ("write_reply", "pass_reply")},
    }
    body, found = sent(ODD[name]), {}

    for address, url in every.items():
        for person in (turn.conversation.crowdworker, reader, writer, None):
            client = Client(raise_request_exception=False)
            if person is not None:
                client.force_login(person.account)
            answers = [client.post(url, body, content_type="application/x-www-form-urlencoded")]
            if address != "turn_events":
                answers.append(client.get(f"{url}?{body.decode()}"))
            found[address] = max(found.get(address, 0), *(each.status_code for each in answers))

    assert {address: status for address, status in found.items() if status >= 500} == {
        # nothing is configured for it: it says so
        **({"prolific_hook": 503} if found["prolific_hook"] == 503 else {})
    }


def test_odd_addresses_are_not_there():
    client = Client(raise_request_exception=False)
    client.force_login(make_account())
    places = ["/work/%00/", "/work/%ED%A0%80/", "/conversations/%2e%2e/", "/join/%00/",
              "/work/" + "x" * 5000 + "/", "/turns/not-a-uuid/choice", "/me/conversations/?before=%00",
              "/sign-in/?next=//evil.example", "/sign-in/?next=somewhere", "/?state=%ED%A0%80",
              reverse("my_conversations") + "?before=" + "9" * 40]  # fmt: skip

    assert [each for each in places if client.get(each).status_code >= 500] == []
