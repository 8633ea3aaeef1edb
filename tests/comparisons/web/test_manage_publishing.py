"""What changes for people at work is shown as old and new before it is stored; of a draft it is stored at once."""

import re
from decimal import Decimal
from html import unescape

import pytest
from django.urls import reverse

from comparisons.models import AuditEntry, Campaign
from comparisons.services.campaigns import CHANGEABLE
from modelserving.models import Slot
from tests.comparisons.making import make_campaign, make_comparison, make_conversation
from tests.comparisons.web.test_manage_meanwhile import administrator, opened, posted, save

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def campaign():
    return make_campaign(slug="busy", title="Busy", opinion_pay="0.05", red_team_daily_cap=60)


@pytest.fixture
def ada():
    return administrator("ada")


def send(client, typed: dict[str, object], **button: str):
    return client.post(reverse("manage_campaign", args=["busy"]), typed | button)


def rows(page) -> list[list[str]]:
    """The list of changes as it is read."""
    body = page.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")]
    lines = [[line for cell in row for line in cell.split("<br>")] for row in cells if row]
    return [[unescape(re.sub(r"<[^>]*>", "", line)) for line in row] for row in lines]


def carried(page) -> dict[str, str]:
    """What the list's own form sends on."""
    form = page.content.decode().rpartition("<form")[2].partition("</form>")[0]
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
    return {name: unescape(value) for name, value in fields if name != "csrfmiddlewaretoken"}


def test_a_live_campaign_shows_its_changes_before_anything_is_stored(campaign, ada):
    typed = opened(ada) | {
        "title": HOSTILE, "pool": "experts", "pairing_rule": "same_deployment", "language": "de",
        "comparisons_wanted": "5000", "allows_edit": "on", "pay_amount": "24",
    }  # fmt: skip
    del typed["allows_regenerate"]

    page = send(ada, typed)

    assert page.status_code == 200
    assert rows(page) == [
        ["Title", f"Busy → {HOSTILE}", "from the next page that they open"],
        ["Pairing", "two draws by traffic → two samples of one deployment", "from the next message on"],
        ["Language", "English → German", "from the next page that they open"],
        ["Pool", "every pool → experts", "from the next message on; people of another pool cannot go on"],
        ["People may ask for two new responses", "yes → no", "at once, within a turn too"],
        ["People may edit a response", "no → yes", "at once, within a turn too"],
        ["Comparisons wanted", "no end → 5,000", "nothing: it is for staff alone"],
        ["Pay", "0.00 → 24.00", "from the next assignment on; what is begun is paid as promised"],
    ]  # fmt: skip
    assert HOSTILE not in page.content.decode()
    campaign.refresh_from_db()
    assert (campaign.title, campaign.pay_amount) == ("Busy", 0)
    assert not AuditEntry.objects.exists()


def test_the_list_publishes_exactly_what_was_typed(campaign, ada):
    typed = opened(ada) | {"title": "Busy people", "allows_edit": "on", "opinion_pay": "0.07"}
    del typed["allows_regenerate"]

    answer = send(ada, carried(send(ada, typed)), publish="1")

    assert answer.status_code == 302
    assert [entry.detail for entry in AuditEntry.objects.filter(action="campaign.change")] == [
        {
            "title": ["Busy", "Busy people"], "allows_regenerate": ["True", "False"],
            "allows_edit": ["False", "True"], "opinion_pay": ["0.050", "0.07"],
        }
    ]  # fmt: skip


def test_going_on_with_editing_stores_nothing_and_keeps_what_was_typed(campaign, ada):
    typed = opened(ada) | {"title": "Busy people", "allows_edit": "on"}
    del typed["allows_regenerate"]

    page = send(ada, carried(send(ada, typed)), edit="1")

    form = posted(page.context["form"])
    assert page.status_code == 200
    assert {name: str(value) for name, value in form.items()} == {
        name: str(value) if value != "on" else "True" for name, value in typed.items()
    }
    assert Campaign.objects.get().title == "Busy"


@pytest.mark.parametrize("state", ["draft", "paused", "ended"])
def test_a_campaign_that_is_not_live_is_saved_at_once(campaign, ada, state):
    Campaign.objects.update(state=state)

    answer = send(ada, opened(ada) | {"title": "Busy people"})

    assert answer.status_code == 302
    assert Campaign.objects.get().title == "Busy people"


@pytest.mark.parametrize(("people", "said"), [(0, "0 people"), (1, "1 person")])
def test_the_list_says_how_many_are_at_work(campaign, ada, people, said):
    for _ in range(people):
        make_comparison(make_conversation(campaign=campaign))

    page = send(ada, opened(ada) | {"title": "Busy people"}).content.decode()

    assert f"The campaign is live, with {said} at work in it now" in page


def test_no_change_makes_no_list(campaign, ada):
    answer = send(ada, opened(ada))

    assert answer.status_code == 302
    assert "Nothing changed." in ada.get(answer["Location"]).content.decode()


def test_a_change_that_another_makes_while_the_list_is_read_is_not_taken_back(campaign, ada):
    bo = administrator("bo")
    page = send(ada, opened(ada) | {"title": "Busy people", "opinion_pay": "0.07"})
    save(bo, opened(bo) | {"red_team_daily_cap": "20"})
    aside = send(ada, carried(page), publish="1")
    campaign.refresh_from_db()

    assert aside.status_code == 302
    assert (campaign.title, campaign.red_team_daily_cap) == ("Busy people", 20)

    page = send(ada, opened(ada) | {"opinion_pay": "0.09"})
    save(bo, opened(bo) | {"opinion_pay": "0.10"})
    both = send(ada, carried(page), publish="1")
    campaign.refresh_from_db()

    assert both.status_code == 409
    assert campaign.opinion_pay == Decimal("0.10")
    again = send(ada, posted(both.context["form"]))
    assert [row[1] for row in rows(again)] == ["0.100 → 0.090"]


def test_the_list_leaves_out_what_only_another_changed_and_says_so(campaign, ada):
    bo = administrator("bo")
    typed = opened(ada) | {"title": "Busy people"}
    save(bo, opened(bo) | {"red_team_daily_cap": "20"})

    page = send(ada, typed)

    assert [row[0] for row in rows(page)] == ["Title"]
    kept = "Kept as bo changed it meanwhile: Red team: responses per person and day."
    assert kept in page.content.decode()


def test_what_both_changed_is_said_before_the_list(campaign, ada):
    bo = administrator("bo")
    typed = opened(ada) | {"red_team_daily_cap": "30"}
    save(bo, opened(bo) | {"red_team_daily_cap": "20"})

    page = send(ada, typed)

    assert page.status_code == 409
    assert "bo changed red team daily cap from 60 to 20" in page.content.decode()
    assert Campaign.objects.get().red_team_daily_cap == 20


def test_every_field_says_from_when_on_it_holds(campaign, ada):
    other = Slot.objects.create(name="other")
    new = {
        "title": "New", "slot": other.pk, "pairing_rule": "same_deployment", "tranche": "online",
        "language": "de", "pool": "experts", "pay_currency": "EUR", "pay_per": "hour",
    }  # fmt: skip
    shown = opened(ada)
    ticks = ("allows_regenerate", "allows_edit", "allows_write")
    counts = set(CHANGEABLE) - set(new) - set(ticks)
    typed = shown | new | dict.fromkeys(counts, "77") | {"allows_edit": "on", "allows_write": "on"}
    del typed["allows_regenerate"]

    found = rows(send(ada, typed))

    assert len(found) == len(CHANGEABLE)
    assert [row for row in found if not row[2]] == []
    assert ["Slot", f"{campaign.slot.name} → other", "from the next message on"] in found


def states(page) -> dict[str, str]:
    """What stands beside each section."""
    found = re.findall(r'data-state-of="section-([\w-]+)">([^<]*)<', page.content.decode())
    return {name: unescape(state) for name, state in found}


def test_every_setting_is_in_one_section_and_each_says_what_stands_in_it(campaign, ada):
    page = ada.get(reverse("manage_campaign", args=["busy"]))
    names = [field.name for section in page.context["form"].sections() for field in section.fields]
    typed = opened(ada) | {"title": "Other", "undo_seconds": "-1", "lease_minutes": ""}

    sent = send(ada, typed)

    assert sorted(names) == sorted(CHANGEABLE)
    assert set(states(page).values()) == {"as saved"}
    told = states(sent)
    assert (told["basics"], told["turns-and-quotas"], told["pay"]) == (
        "1 change", "2 problems", "as saved",
    )  # fmt: skip
    assert "{&quot;title&quot;: &quot;Busy&quot;}" in sent.content.decode()
