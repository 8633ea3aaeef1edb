"""A person's page offers to take back only what was set aside with the person."""

import pytest
from django.urls import reverse

from comparisons.models import Flag
from comparisons.services import quality
from tests.comparisons.making import make_account, make_comparison, make_conversation

pytestmark = pytest.mark.django_db


def test_only_what_was_set_aside_with_the_person_can_be_let_count_again(client):
    staff = make_account("administrator")
    client.force_login(staff)
    flagged = make_comparison(make_conversation(), message="my number is")
    person = flagged.crowdworker
    make_comparison(make_conversation(crowdworker=person), message="fine")
    flag = Flag.objects.create(turn=flagged.turn, crowdworker=person, kind="personal_data")
    quality.set_aside_flagged(flag, reason="a number", actor=staff)
    page = reverse("manage_person", args=[person.public_id])

    before = client.get(page).content.decode()
    quality.set_aside(person, reason="too fast", actor=staff)
    after = client.get(page).content.decode()

    assert "count again" not in before
    assert "Let 1 count again" in after
