"""Whatever is sent to a page or to the API, the server answers for itself: never with an error of its own."""

import json
import re
import uuid
from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.api.urls import urlpatterns as api_urls
from comparisons.services import opinions, replies
from comparisons.services.campaigns import CHANGEABLE
from tests.comparisons.making import make_account
from tests.comparisons.practising import with_practice
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said
from tests.comparisons.web import test_manage
from tests.comparisons.web.test_access import every_address

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

FIELDS = (
    "text", "message_key", "after", "active_milliseconds", "layout", "intent", "topic", "comment",
    "rating", "success", "harmfulness", "actionability", "then", "point", "sha256_a", "sha256_b",
    "choice_key", "is_both_bad", "reason_tags", "reason_text", "side", "kind", "note", "reason",
    "next", "theme", "language", "has_single_keys", "key_skip", "has_read", "version", "comfort",
    "cover", "topics", "has_topics", "username", "password", "code", "state", "before", "again",
    "PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "current_password", "new_password",
)  # fmt: skip
STAFF_FIELDS = (
    *CHANGEABLE, "preset", "slug", "summary", "body", "consent", "based_on", "label", "uses", "days",
    "name", "test_percent", "objectives", "tranches", "has_simulated", "without_sources", "scope", "format", "to", "made_at",
    "lines", "pass_mark", "attempts", "item-0-prompt", "item-0-known_side", "platform", "places",
    "external_study_id", "completion_code", "completion_url", "id_parameter", "submission_parameter",
    "is_open", "outcome", "reason", "state", "q", "standing",
)  # fmt: skip
STAFF_FORMS = {  # what a form of staff sends when nothing is odd
    "manage_flag": {"outcome": "set_aside", "reason": "x"},
    "manage_outcome": {"outcome": "set_aside", "reason": "x"},
    "manage_crowd": {"label": "x", "pool": "x", "uses": 1, "days": 1},
    "manage_api": {"name": "x", "scope": "read", "days": 1},
    "manage_release_new": {"name": "r-2", "test_percent": 20},
    "manage_export": {"format": "csv"},
    "manage_pay_settle": {"to": "accepted", "made_at": "2030-01-01T00:00:00Z"},
    "manage_arrival_settle": {"to": "accepted", "made_at": "2030-01-01T00:00:00Z"},
    "manage_instructions": {"summary": "x", "body": "x", "consent": "x", "based_on": 0},
    "manage_arrivals": {"platform": "mturk", "label": "x", "pay_amount": 1, "pay_currency": "USD"},
    "manage_arrival": {"label": "x", "completion_code": "x", "pay_amount": 1, "places": 1},
    "manage_practice": {
        "pass_mark": 1, "attempts": 1, "based_on": 0, "item-TOTAL_FORMS": 0, "item-INITIAL_FORMS": 0,
        "lines": '{"prompt": "x", "response_a": "x", "response_b": "y", "known_side": "A", "why": "x"}',
    },
}  # fmt: skip
OF_ITEM = ("opinion_choice", "undo_opinion", "pass_opinion", "flag_opinion")
OF_REPLY = ("write_reply", "pass_reply")
ODD = {
    "nothing": "", "nul": "a\x00b", "surrogate": "\ud800", "huge": str(10**30), "minus": "-1",
    "fraction": "1e9", "not a number": "NaN", "long": "x" * 100_000, "marks": "\u0301\u202e" * 2000,
    "path": "../../etc/passwd", "quote": "'; DROP TABLE x; --", "key": str(uuid.uuid4()),
    "first day": "0001-01-01T00:00:00+23:59",
    "template": "{{ 7|add:7 }}{% load x %}", "arabic digits": "\u0661\u0662", "emoji": "\U0001f9d1" * 50,
}  # fmt: skip
# what a database may refuse by itself; the rest is text to all of them
OF_DATABASES = {
    "nul",
    "surrogate",
    "huge",
    "minus",
    "fraction",
    "not a number",
    "long",
    "first day",
}
STAFF_ODD = ("nul", "surrogate", "huge", "minus", "not a number", "long", "first day")
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
CHARSETS = (
    "hex", "base64", "rot13", "undefined", "idna", "punycode", "zlib", "unicode_escape", "utf-16",
    "utf-7", "latin-1", "nobody-knows", "x" * 300,
)  # fmt: skip
ADDRESS_BYTES = 60_000  # servers take no longer address
scene = test_manage.scene


def sent(value: str, fields=FIELDS) -> bytes:
    """A form in which every field says this, as a client that knows no UTF-8 rules would write it."""
    return written(dict.fromkeys(fields, value))


def asked(value: str, fields=FIELDS) -> str:
    """The same behind an address, as much of it as an address can hold."""
    while len(query := sent(value, fields)) > ADDRESS_BYTES:
        value = value[: len(value) // 2]
    return query.decode()


def written(fields: dict) -> bytes:
    """A form's body."""
    return urlencode(fields, errors="surrogatepass").encode()


def staff_bodies(name: str, value: str):
    """Every field odd, then each field of the page's own form in turn."""
    yield sent(value, STAFF_FIELDS)
    usual = STAFF_FORMS.get(name, {})
    yield from (written({**usual, field: value}) for field in usual if "_FORMS" not in field)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in OF_DATABASES else pytest.mark.one_database)
        for name in ODD
    ],
)
def test_no_field_of_any_page_breaks_the_server(name):
    campaign = live_campaign(
        allows_edit=True, allows_write=True, second_opinion_percent=100, human_reply_percent=100
    )
    chosen(answered(said(begun(campaign))))
    reader, writer = agreed_person(campaign), agreed_person(campaign)
    item, wanted = opinions.take(reader), replies.take(writer)
    turn = answered(said(begun(live_campaign(names=("x", "y"), allows_edit=True))))
    with_practice(turn.conversation.campaign, items=1, pass_mark=1)
    places = [(turn.conversation.crowdworker, *place) for place in every_address(turn).items()]
    places += [(reader, each, reverse(each, args=[item.public_id])) for each in OF_ITEM]
    places += [(writer, each, reverse(each, args=[wanted.public_id])) for each in OF_REPLY]
    places += [(reader, "opinions", reverse("opinions")), (writer, "replies", reverse("replies"))]
    body, query, found = sent(ODD[name]), asked(ODD[name]), {}

    for person, address, url in places:
        for account in (person.account, None):
            client = Client(raise_request_exception=False)
            if account is not None:
                client.force_login(account)
            answers = [client.post(url, body, content_type=FORM)]
            if address != "turn_events":
                answers.append(client.get(f"{url}?{query}"))
            found[address] = max(found.get(address, 0), *(each.status_code for each in answers))

    assert {address: status for address, status in found.items() if status >= 500} == {
        # nothing is configured for it: it says so
        **({"prolific_hook": 503} if found["prolific_hook"] == 503 else {})
    }


@pytest.mark.parametrize("name", STAFF_ODD)
def test_no_field_of_any_page_of_staff_breaks_the_server(name, scene):
    client = Client(raise_request_exception=False)
    client.force_login(make_account("administrator"))
    found = {}

    for address in test_manage.ALL:
        url = test_manage.address(address, scene)
        answers = [client.get(f"{url}?{asked(ODD[name], STAFF_FIELDS)}")]
        bodies = staff_bodies(address, ODD[name])
        answers += [client.post(url, body, content_type=FORM) for body in bodies]
        found[address] = max(each.status_code for each in answers)

    assert {address: status for address, status in found.items() if status >= 500} == {}


@pytest.mark.parametrize("name", STAFF_ODD)
def test_nothing_asked_of_the_api_breaks_the_server(name, scene):
    client = Client(raise_request_exception=False)
    client.force_login(make_account("administrator"))
    text = quote(ODD[name], safe="", errors="surrogatepass")
    query = f"cursor={text}&page_size={text}&format={text}"
    body = json.dumps({"format": ODD[name]})
    found = {}

    for pattern in api_urls:
        route = f"/api/v1/{pattern.pattern}".replace("<str:name>", "r-1")
        route = re.sub(r"<slug:\w+>", text, route)
        answers = [client.get(f"{route}?{query}"), client.get(route.replace("r-1", text))]
        answers += [client.post(route, body, content_type="application/json")]
        found[pattern.name] = max(each.status_code for each in answers)

    assert {address: status for address, status in found.items() if status >= 500} == {}


def test_an_address_with_a_nul_is_refused_in_plain_words():
    client = Client()
    client.force_login(make_account("administrator"))

    pages = [client.get("/manage/crowd/?q=%00"), client.get("/manage/releases/r/%00/")]
    api = [client.get("/api/v1/releases/%00/"), client.get("/api/v1/releases/?cursor=a%00b")]

    assert [each.status_code for each in pages + api] == [400] * 4
    assert ["NUL character (%00)" in each.content.decode() for each in pages] == [True] * 2
    assert [list(each.json()) for each in api] == [["detail"]] * 2
    assert client.get("/manage/crowd/?q=%2500").status_code == 200


@pytest.mark.parametrize("kind", [MULTIPART, FORM, "text/plain", "application/json"])
@pytest.mark.parametrize("charset", CHARSETS)
def test_a_charset_other_than_utf_8_is_refused_before_anything_is_read(kind, charset):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    content_type = f"{kind}; charset={charset}"
    body = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nab\xff\r\n--x--\r\n'

    sent = client.generic("POST", "/sign-in/", body, content_type=content_type)
    asked = client.generic("GET", "/sign-in/", body, content_type=content_type)
    api = client.generic("POST", "/api/v1/releases/", body, content_type=content_type)

    assert [each.status_code for each in (sent, asked, api)] == [400] * 3
    assert "Send it in UTF-8." in sent.content.decode()
    assert "Send it in UTF-8." in asked.content.decode()
    assert list(api.json()) == ["detail"]


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "utf8", '"utf-8"'])
def test_utf_8_by_any_of_its_names_is_read(charset):
    client = Client()
    content_type = f"{FORM}; charset={charset}"

    answer = client.post("/sign-in/", written({"username": "x"}), content_type=content_type)

    assert answer.status_code == 422


def test_staff_read_why_what_they_sent_is_refused(scene):
    client = Client()
    client.force_login(make_account("administrator"))

    def refused(name: str, **changes: str) -> str:
        body = written({**STAFF_FORMS[name], **changes})
        where = test_manage.address(name, scene)
        answer = client.post(where, body, content_type=FORM, follow=True)
        return answer.content.decode()

    assert "line 1 is not a JSON object" in refused("manage_practice", lines="[" * 5000)
    assert "Look again" in refused("manage_pay_settle", made_at=ODD["first day"])
    assert "at most 200 characters" in refused("manage_flag", reason="x" * 201)
    assert "less than or equal to" in refused("manage_arrival", places=ODD["huge"])


def test_a_range_beyond_all_files_is_no_range(scene):
    client = Client()
    client.force_login(make_account("administrator"))
    where = test_manage.address("manage_export_download", scene)

    answer = client.get(where, headers={"Range": "bytes=0-" + "9" * 5000})

    assert answer.status_code == 200
    assert b"".join(answer.streaming_content).startswith(b"PK")


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "theme", "django_language"])
def test_a_cookie_of_ours_that_holds_a_nul_is_no_cookie_of_ours(name):
    client = Client(headers={"Cookie": rf'{name}="abcdefghijklmnop\000"'})

    assert client.get("/").url == "/sign-in/?next=/"
    assert client.get("/sign-in/").status_code == 200


def test_odd_addresses_are_not_there():
    client = Client(raise_request_exception=False)
    client.force_login(make_account())
    places = ["/work/%00/", "/work/%ED%A0%80/", "/conversations/%2e%2e/", "/join/%00/",
              "/work/" + "x" * 5000 + "/", "/turns/not-a-uuid/choice", "/me/conversations/?before=%00",
              "/sign-in/?next=//evil.example", "/sign-in/?next=somewhere", "/?state=%ED%A0%80",
              reverse("my_conversations") + "?before=" + "9" * 40]  # fmt: skip

    assert [each for each in places if client.get(each).status_code >= 500] == []
