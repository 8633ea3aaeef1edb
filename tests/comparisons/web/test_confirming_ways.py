"""Ways to the page that asks who one is and back: from files, scripts and the API, with a password and without; none elsewhere."""

import re
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from comparisons.services.accounts import create_account, make_api_token, make_sign_in_link
from comparisons.services.exporting import export_release
from comparisons.services.releasing import cut_release
from tests.comparisons.confirming import FIELD, action, hidden_fields
from tests.comparisons.making import (
    PASSWORD,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db

NEW = "quite another long one"
JSON = {"accept": "application/json"}
TEMPLATES = Path(django_settings.BASE_DIR) / "templates"
SCRIPTS = Path(django_settings.BASE_DIR) / "labelapp" / "static" / "labelapp" / "js"


def test_a_script_is_told_where_to_lead_the_person(staff, minute, suspend):
    address, fields, is_done = suspend
    minute(16)
    here = "http://testserver/manage/crowd/?q=a&at=1"

    told = staff.post(address, fields, headers=JSON | {"referer": here})
    lost = staff.post(address, fields, headers=JSON | {"referer": "https://evil.example/x"})

    assert (told.status_code, is_done()) == (403, False)
    assert told.json() | {"message": ""} == {
        "error": "not_confirmed", "message": "",
        "page": "/confirm/?next=%2Fmanage%2Fcrowd%2F%3Fq%3Da%26at%3D1",
    }  # fmt: skip
    assert lost.json()["page"] == "/confirm/?next=%2F"
    back = staff.post(told.json()["page"], {FIELD: PASSWORD})
    assert back.url == "/manage/crowd/?q=a&at=1"
    assert staff.post(address, fields, headers=JSON).status_code == 302


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example/", r"/\evil.example", "javascript:x", ""]
)
def test_the_page_leads_to_nobody_else(staff, minute, wanted):
    minute(16)
    fields = {"next": wanted, FIELD: PASSWORD}

    page = staff.get(reverse("confirm"), {"next": wanted}).content.decode()
    answer = staff.post(reverse("confirm"), fields)
    again = staff.get(reverse("confirm"), {"next": wanted})

    assert hidden_fields(page)["next"] == [reverse("home")]
    assert (answer.url, again.url) == (reverse("home"), reverse("home"))


def test_a_download_asks_and_leads_back_to_the_page_of_its_link(staff, minute):
    campaign = make_campaign()
    page, file = (reverse(each, args=[campaign.slug]) for each in ("manage_pay", "manage_pay_csv"))
    minute(16)

    asked = staff.get(file, headers={"referer": f"http://testserver{page}?at=2"})
    alone = staff.get(file, headers={"referer": "https://evil.example/"})
    others = [staff.head(file), staff.get(file, headers={"range": "bytes=0-"})]
    script = staff.get(file, headers=JSON)
    back = staff.post(action(asked.content.decode()), {"next": f"{page}?at=2", FIELD: PASSWORD})

    assert (asked.status_code, alone.status_code, script.status_code) == (403, 403, 403)
    assert [each.status_code for each in others] == [403, 403]
    assert "Content-Disposition" not in asked
    assert hidden_fields(asked.content.decode())["next"] == [f"{page}?at=2"]
    assert hidden_fields(alone.content.decode())["next"] == [file]
    assert back.url == f"{page}?at=2"
    assert staff.get(file).headers["Content-Type"] == "text/csv; charset=utf-8"


def test_links_to_files_open_a_page_where_one_asks(staff):
    """With `download` a browser would only say that it failed."""
    for name in ("pay.html", "arrival.html", "_release_state.html"):
        links = re.findall(
            r"<a [^>]*>Download", (TEMPLATES / "comparisons" / "manage" / name).read_text()
        )
        assert links, name
        assert not [each for each in links if re.search(r"\bdownload[ >]", each)], name


def test_who_has_no_password_chooses_one_and_comes_back(minute, suspend):
    address, fields, is_done = suspend
    account = create_account(username="robin", role="administrator")
    client = Client()
    client.post(make_sign_in_link(account))
    minute(16)
    file = reverse("manage_pay_csv", args=[make_campaign().slug])

    act = client.post(address, fields).content.decode()
    link = re.search(r'href="(/password/\?next=[^"]+)"', client.get(file).content.decode())[1]
    chosen = client.post(
        reverse("password"),
        {
            "new_password": NEW,
            **{n: v[0] for n, v in hidden_fields(client.get(link).content.decode()).items()},
        },
    )
    kept = hidden_fields(act)

    assert FIELD not in act
    assert f'href="{reverse("password")}" target="_blank"' in act
    assert kept["reason"] == [fields["reason"]]
    assert chosen.url == file
    assert client.post(action(act), kept).status_code == 302
    assert is_done()


def test_choosing_a_password_leads_to_nobody_else(staff):
    fields = {"current_password": PASSWORD, "new_password": NEW, "next": "//evil.example/"}

    assert staff.post(reverse("password"), fields).url == reverse("home")


def test_people_of_other_platforms_have_no_such_page():
    person = make_crowdworker(platform="prolific")
    client = Client()
    client.force_login(person.account)

    assert client.get(reverse("confirm")).status_code == 404


def test_a_session_asks_in_the_api_too_and_a_token_never(staff, admin, minute):
    make_comparison(make_conversation())
    release = cut_release("r-1", test_percent=0)
    export_release(release, "hh")
    asking = reverse("api_exports", args=["r-1"])
    file = reverse("api_export_download", args=["r-1", "hh"])
    token = {"Authorization": f"Bearer {make_api_token(admin, name='t', scope='run')}"}

    def answers(staff, **more) -> list:
        body = {"data": {"format": "trl"}, "content_type": "application/json"}
        return [
            staff.post(asking, **body, **more),
            staff.get(file, **more),
            staff.get(asking, **more),
        ]

    fresh = [each.status_code for each in answers(staff)]
    minute(16)
    later = answers(staff)
    by_token = [each.status_code for each in answers(Client(), headers=token)]

    assert fresh == by_token == [202, 200, 200]
    assert [each.status_code for each in later] == [403, 403, 200]
    for each in later[:2]:
        assert (each.json()["error"], each.json()["page"]) == ("not_confirmed", reverse("confirm"))


def test_staff_change_things_by_plain_forms_alone():
    """A script that sent an act would have to read the refusal and lead to the page itself."""
    staff = [*TEMPLATES.glob("training/*.html"), *TEMPLATES.glob("comparisons/manage/*.html")]
    scripts = [*SCRIPTS.glob("lab-*.js"), SCRIPTS / "rows.js", SCRIPTS / "status.js"]

    assert len(staff) > 30
    assert [p.name for p in staff if re.search(r"hx-(post|put|patch|delete)", p.read_text())] == []
    assert [p.name for p in scripts if re.search(r"method:|outbox", p.read_text())] == []
