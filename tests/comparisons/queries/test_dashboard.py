"""The overview: who is at work now, and what counts as the crowd's."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from comparisons.models import Comparison, Turn
from comparisons.queries.dashboard import happening_now
from tests.comparisons.making import make_comparison, make_conversation

pytestmark = pytest.mark.django_db


def worked(*, chose_minutes_ago: int, wrote_minutes_ago: int) -> None:
    """Somebody who wrote two messages and chose twice."""
    conversation = make_conversation()
    for message in ("One", "Two"):
        comparison = make_comparison(conversation, message=message)
        at = {"created_at": now() - timedelta(minutes=chose_minutes_ago)}
        Comparison.objects.filter(pk=comparison.pk).update(**at)
        at = {"created_at": now() - timedelta(minutes=wrote_minutes_ago)}
        Turn.objects.filter(pk=comparison.turn_id).update(**at)


def test_people_at_work_chose_or_wrote_in_the_last_minutes():
    worked(chose_minutes_ago=1, wrote_minutes_ago=1)
    worked(chose_minutes_ago=60, wrote_minutes_ago=1)
    worked(chose_minutes_ago=1, wrote_minutes_ago=60)
    worked(chose_minutes_ago=60, wrote_minutes_ago=60)

    assert happening_now().people == 3


def test_counting_people_never_multiplies_their_choices_by_their_turns():
    with CaptureQueriesContext(connection) as asked:
        happening_now()

    of_people = [each["sql"] for each in asked if "crowdworker" in each["sql"]]
    assert len(of_people) == 1
    assert of_people[0].count("EXISTS") == 2
    assert "OUTER JOIN" not in of_people[0]
