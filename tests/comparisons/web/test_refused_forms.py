"""A refused form of the staff's says at its field what is wrong, and on top where to find it."""

import pytest
from django.urls import reverse

from comparisons.models import Campaign
from modelserving.models import Slot
from tests.comparisons.making import make_account, make_campaign
from tests.comparisons.web.test_manage_meanwhile import opened, save

pytestmark = pytest.mark.django_db


@pytest.fixture
def administrator(client):
    client.force_login(make_account("administrator"))
    return client


def test_rules_that_would_stop_the_work_are_refused_in_words(administrator):
    make_campaign(slug="busy")
    wrong = {
        "max_message_characters": "0",
        "conversations_per_assignment": "0",
        "pay_currency": "abc",
    }

    page = save(administrator, opened(administrator) | wrong).content.decode()

    assert page.count("Choose 50 to 100,000.") >= 1
    assert page.count("Choose 1 to 100.") >= 1
    assert "Write three capital letters, as in USD." in page
    assert "Constraint" not in page
    assert '<a href="#id_max_message_characters">Longest message, characters</a>' in page
    assert "3 problems" in page
    assert Campaign.objects.get().max_message_characters == 4000


@pytest.mark.parametrize("slug", ["Has Space!", "Upper", "under_score"])
def test_a_short_name_is_refused_in_its_own_words(administrator, slug):
    slot = Slot.objects.create(name="everyday")
    typed = {"preset": "helpful", "title": "x", "slug": slug, "slot": slot.pk}

    page = administrator.post(reverse("manage_campaign_new"), typed).content.decode()

    assert "Write a short name of a-z, 0-9 and dashes alone." in page
    assert not Campaign.objects.exists()


def test_a_refused_practice_says_it_once(administrator):
    make_campaign(slug="busy")
    typed = {
        "pass_mark": "1", "attempts": "1", "based_on": "0", "lines": "", "item-TOTAL_FORMS": "0",
        "item-INITIAL_FORMS": "0",
    }  # fmt: skip

    page = administrator.post(reverse("manage_practice", args=["busy"]), typed).content.decode()

    assert page.count("A set has 1 to 20 practice comparisons.") == 1
