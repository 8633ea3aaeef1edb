"""The administrators' pages: who gets in, what they show, what they do; no text runs as markup."""

import re
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.models import (
    Account,
    ApiToken,
    AuditEntry,
    Campaign,
    Comparison,
    Crowdworker,
    DatasetRelease,
    Flag,
    Invitation,
    ReleaseExport,
)
from comparisons.services.exporting import export_release
from comparisons.services.releasing import cut_release
from comparisons.web import manage_urls
from modelserving.models import Slot, SlotDeployment
from tests.comparisons.arriving import arrived
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>"
OPEN_TO_RESEARCHERS = {
    "manage_releases", "manage_release_new", "manage_release_counts", "manage_release",
    "manage_export_download", "manage_imports", "manage_api", "manage_export",
    "manage_token_revoke",
}  # fmt: skip
POST_ONLY = {
    "manage_campaign_state", "manage_invitation_end", "manage_outcome", "manage_flag",
    "manage_export", "manage_token_revoke", "manage_arrival_settle", "manage_practice_off",
    "manage_pay_settle",
}  # fmt: skip
OF_CAMPAIGN = ("campaign", "preview", "practice", "practice_off", "pay", "pay_settle", "pay_csv")
FILES = {"manage_export_download", "manage_arrival_pay", "manage_pay_csv"}
ALL = sorted(pattern.name for pattern in manage_urls.urlpatterns)


def signed_in(account: Account) -> Client:
    client = Client()
    client.force_login(account)
    return client


@pytest.fixture
def administrator():
    return signed_in(make_account("administrator"))


@pytest.fixture
def scene():
    """A campaign that serves, one person with a hostile choice and flag, a release and export."""
    campaign = make_campaign(title=HOSTILE, slug="scene")
    SlotDeployment.objects.create(
        slot=campaign.slot, deployment=make_deployment(HOSTILE), role="serving", traffic=100
    )
    person = make_crowdworker(pseudonym="kx-31", pool=HOSTILE)
    comparison = make_comparison(
        make_conversation(campaign=campaign, crowdworker=person), message=HOSTILE,
        picked=HOSTILE, other=HOSTILE + "2",
    )  # fmt: skip
    release = cut_release("r-1", test_percent=0)
    export_release(release, "hh")
    flag = Flag.objects.create(
        turn=comparison.turn, crowdworker=person, kind=Flag.Kind.PERSONAL_DATA, note=HOSTILE
    )
    invitation = Invitation.objects.create(code_sha256="1" * 64, label=HOSTILE)
    source = arrived(campaign, person=person, label=HOSTILE).source
    return {
        "campaign": campaign, "person": person, "comparison": comparison, "release": release,
        "flag": flag, "invitation": invitation, "source": source,
    }  # fmt: skip


def address(name: str, scene: dict | None = None) -> str:
    person = scene["person"].public_id if scene else uuid.uuid4()
    source = scene["source"].public_id if scene else uuid.uuid4()
    arguments = {
        "manage_arrivals": ["scene"],
        "manage_arrival": [source],
        "manage_arrival_pay": [source],
        "manage_arrival_settle": [source],
        **{f"manage_{each}": ["scene"] for each in OF_CAMPAIGN},
        "manage_campaign_state": ["scene"],
        "manage_instructions": ["scene"],
        "manage_invitation_end": [scene["invitation"].pk if scene else 1],
        "manage_person": [person],
        "manage_outcome": [person],
        "manage_flag": [scene["flag"].pk if scene else 1],
        "manage_release": ["r-1"],
        "manage_export": ["r-1"],
        "manage_export_download": ["r-1", "hh"],
        "manage_token_revoke": [1],
    }
    return reverse(name, args=arguments.get(name, []))


@pytest.mark.parametrize("name", ALL)
def test_each_page_opens_for_its_roles_only(name, scene):
    method = "post" if name in POST_ONLY else "get"
    where = address(name, scene)

    def status(client: Client) -> int:
        return getattr(client, method)(where).status_code

    researcher = status(signed_in(make_account("researcher")))
    found = {
        "anonymous": status(Client()),
        "crowdworker": status(signed_in(scene["person"].account)),
        "researcher": researcher if researcher == 404 else 200,
    }
    administrator = status(signed_in(make_account("administrator")))

    assert found == {
        "anonymous": 302,
        "crowdworker": 404,
        "researcher": 200 if name in OPEN_TO_RESEARCHERS else 404,
    }
    assert administrator == (302 if name in POST_ONLY else 200)


@pytest.mark.parametrize("name", sorted(set(ALL) - POST_ONLY - FILES))
def test_hostile_text_is_shown_and_never_runs(name, scene, administrator):
    page = administrator.get(address(name, scene)).content.decode()

    assert HOSTILE not in page
    assert " style=" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.replace("application/json", "src="))
    assert page.count("<h1") == (0 if name == "manage_release_counts" else 1)


@pytest.mark.parametrize("name", sorted(set(ALL) - POST_ONLY))
def test_pages_that_need_a_thing_are_404_without_it(name, administrator):
    where = address(name)
    needs_one = where not in {reverse(n) for n in ALL if n not in NEEDS_ARGUMENTS}

    assert administrator.get(where).status_code == (404 if needs_one else 200)


NEEDS_ARGUMENTS = POST_ONLY | {
    "manage_pay", "manage_pay_csv",
    "manage_campaign", "manage_preview", "manage_practice", "manage_instructions", "manage_person", "manage_release",
    "manage_export_download", "manage_arrivals", "manage_arrival", "manage_arrival_pay",
}  # fmt: skip


def test_a_campaign_is_made_opened_changed_and_its_instructions_published(administrator):
    slot = Slot.objects.create(name="everyday")
    made = administrator.post(
        reverse("manage_campaign_new"),
        {"preset": "red-team", "title": "Red team", "slug": "red", "slot": slot.pk},
    )
    campaign = Campaign.objects.get(slug="red")
    assert made.status_code == 302
    assert (campaign.state, campaign.objective, campaign.question) == (
        "draft", "harmless", "more_harmful",
    )  # fmt: skip
    assert campaign.instruction_versions.get().version == 1

    early = administrator.post(address_of_state("red"), {"state": "live"}, follow=True)
    assert "serves nothing yet" in early.content.decode()
    SlotDeployment.objects.create(
        slot=slot, deployment=make_deployment(), role="serving", traffic=100
    )
    administrator.post(address_of_state("red"), {"state": "live"})
    campaign.refresh_from_db()
    assert campaign.state == "live"

    page = administrator.get(reverse("manage_campaign", args=["red"]))
    fields = {name: page.context["form"][name].value() for name in page.context["form"].fields}
    typed = {k: v for k, v in fields.items() if v is not None and v is not False} | {
        "turns_suggested": 6, "publish": "1"
    }  # fmt: skip
    administrator.post(reverse("manage_campaign", args=["red"]), typed)
    campaign.refresh_from_db()
    assert campaign.turns_suggested == 6
    change = AuditEntry.objects.get(action="campaign.change")
    assert change.detail == {"turns_suggested": ["4", "6"]}

    wording = {"summary": "s", "body": "b", "consent": "c", "based_on": 1}
    administrator.post(reverse("manage_instructions", args=["red"]), wording)
    late = administrator.post(reverse("manage_instructions", args=["red"]), wording)
    assert campaign.instruction_versions.count() == 2
    assert "was published meanwhile" in late.content.decode()


def address_of_state(slug: str) -> str:
    return reverse("manage_campaign_state", args=[slug])


def test_campaign_forms_say_what_is_wrong(administrator, scene):
    again = administrator.post(
        reverse("manage_campaign_new"),
        {
            "preset": "helpful", "title": "x", "slug": "scene",
            "slot": scene["campaign"].slot.pk,
        },
    ).content.decode()  # fmt: skip
    assert "choose another short name" in again
    wrong = administrator.post(
        reverse("manage_campaign", args=["scene"]), {"turns_suggested": "-1"}
    )
    assert wrong.status_code == 200
    assert "problem" in wrong.content.decode()
    assert administrator.post(address_of_state("scene"), {"state": "draft"}).status_code == 302
    assert Campaign.objects.get(slug="scene").state == "live"


def test_an_invitation_code_is_shown_once_and_can_be_taken_back(administrator):
    made = administrator.post(
        reverse("manage_crowd"), {"label": "Ann", "pool": "general", "uses": 2, "days": 3}
    ).content.decode()
    code = re.search(r'id="invitation-code">([^<]+)<', made).group(1)
    invitation = Invitation.objects.get()

    assert invitation.uses_left == 2
    assert code not in invitation.code_sha256
    assert code not in administrator.get(reverse("manage_crowd")).content.decode()
    administrator.post(reverse("manage_invitation_end", args=[invitation.pk]))
    invitation.refresh_from_db()
    assert invitation.uses_left == 0


def test_people_are_set_aside_and_suspended_with_a_reason_and_back(administrator, scene):
    person = scene["person"]
    where = reverse("manage_outcome", args=[person.public_id])

    refused = administrator.post(where, {"outcome": "suspend", "reason": " "}, follow=True)
    assert "Say why" in refused.content.decode()
    administrator.post(where, {"outcome": "set_aside", "reason": "one-sided"})
    comparison = Comparison.objects.get(pk=scene["comparison"].pk)
    assert comparison.set_aside_reason == "one-sided"
    administrator.post(where, {"outcome": "take_back"})
    comparison.refresh_from_db()
    assert comparison.set_aside_at is None
    administrator.post(where, {"outcome": "suspend", "reason": "talk to us"})
    person.refresh_from_db()
    assert (person.standing, person.standing_reason) == ("suspended", "talk to us")
    administrator.post(where, {"outcome": "activate"})
    person.refresh_from_db()
    assert person.standing == Crowdworker.Standing.ACTIVE
    administrator.post(where, {"outcome": "no_problem", "reason": "fine"})
    assert list(
        AuditEntry.objects.filter(object_type="crowdworker").values_list("action", flat=True)
    ) == [
        "crowdworker.set_aside", "crowdworker.take_back", "crowdworker.suspended",
        "crowdworker.active", "crowdworker.no_problem",
    ]  # fmt: skip
    assert administrator.post(where, {"outcome": "delete"}).status_code == 302


def test_a_flag_is_kept_or_left_out_with_what_quotes_it(administrator, scene):
    later = make_comparison(scene["comparison"].turn.conversation, message="later")
    where = reverse("manage_flag", args=[scene["flag"].pk])

    administrator.post(where, {"outcome": "set_aside"})

    later.refresh_from_db()
    scene["flag"].refresh_from_db()
    assert later.set_aside_at
    assert scene["flag"].resolved_at
    assert DatasetRelease.objects.get().stale_at
    other = Flag.objects.create(turn=later.turn, crowdworker=scene["person"], kind=Flag.Kind.OTHER)
    administrator.post(reverse("manage_flag", args=[other.pk]), {"outcome": "keep"})
    other.refresh_from_db()
    assert other.resolved_at


def test_a_release_is_asked_for_with_live_counts(administrator, scene):
    make_comparison(make_conversation(campaign=make_campaign(objective="harmless")))
    everything = administrator.get(reverse("manage_release_counts")).content.decode()
    harmless = administrator.get(
        reverse("manage_release_counts"), {"objectives": "harmless"}
    ).content.decode()

    asked = administrator.post(
        reverse("manage_release_new"),
        {"name": "r-2", "test_percent": 20, "objectives": "harmless"},
    )

    assert "<b>1</b> of 2" in everything  # the flagged one waits
    assert "another objective" in harmless
    assert asked.status_code == 302
    release = DatasetRelease.objects.get(name="r-2")
    assert (release.state, release.filters["objectives"]) == ("cutting", ["harmless"])
    page = administrator.get(asked.url).content.decode()
    assert "Being cut" in page
    assert 'hx-trigger="every 2s"' in page
    taken = administrator.post(
        reverse("manage_release_new"), {"name": "r-1", "test_percent": 20}
    ).content.decode()
    assert "choose another name" in taken


def test_an_export_is_asked_for_and_downloaded(administrator, scene):
    administrator.post(reverse("manage_export", args=["r-1"]), {"format": "trl"})
    assert ReleaseExport.objects.get(format="trl").state == "queued"
    administrator.post(reverse("manage_export", args=["r-1"]), {"format": "xml"})
    assert ReleaseExport.objects.count() == 2

    where = reverse("manage_export_download", args=["r-1", "hh"])
    whole = b"".join(administrator.get(where).streaming_content)
    part = administrator.get(where, HTTP_RANGE="bytes=5-8")

    assert whole[:2] == b"PK"
    assert b"".join(part.streaming_content) == whole[5:9]
    part_of_page = administrator.get(
        reverse("manage_release", args=["r-1"]), HTTP_HX_REQUEST="true"
    ).content.decode()
    assert "<html" not in part_of_page
    assert 'id="release-state"' in part_of_page


def test_a_token_is_shown_once_works_and_is_revoked_by_its_owner_only(administrator):
    page = administrator.post(
        reverse("manage_api"), {"name": "script", "scope": "read", "days": 1}
    ).content.decode()
    secret = re.search(r'id="token">([^<]+)<', page).group(1)
    token = ApiToken.objects.get()
    header = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    revoke = reverse("manage_token_revoke", args=[token.pk])

    assert Client().get(reverse("api_releases"), **header).status_code == 200
    assert secret not in administrator.get(reverse("manage_api")).content.decode()
    signed_in(make_account("researcher")).post(revoke)
    assert Client().get(reverse("api_releases"), **header).status_code == 200
    administrator.post(revoke)
    assert Client().get(reverse("api_releases"), **header).status_code == 401


def test_the_dashboard_puts_what_needs_a_look_first(administrator, scene):
    DatasetRelease.objects.create(name="broken", state="failed", failure="disk full")
    SlotDeployment.objects.all().delete()

    page = administrator.get(reverse("manage_dashboard"))

    texts = [concern.text for concern in page.context["concerns"]]
    assert texts == [
        "Release broken failed: disk full",
        f"{HOSTILE} is live, but its slot serves nothing.",
        "1 flag: Personal data, oldest less than 1 min",
    ]
    row, _costs, _points = page.context["today"][0]
    assert (row.comparisons, row.total, row.kept) == (1, 1, 1)
    assert page.context["now"].people == 1
    assert sum(day.total for day in page.context["days"]) == 1
