"""Withdrawing: every text of the person is gone, every row, hash and link still there."""

import pytest

from comparisons.models import Comparison, Conversation, DatasetRelease, Response, Turn
from comparisons.models.release import ReleaseComparison
from comparisons.queries.own_data import own_data
from comparisons.services import streaming, withdrawal
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said
from tests.comparisons.turns import streamed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

SECRET = "canary: my grandmother's address"


def test_withdrawing_blanks_texts_in_place_and_marks_releases():
    campaign = live_campaign(objective="harmless")
    person, other = agreed_person(campaign), agreed_person(campaign)
    conversation = begun(campaign, person)
    turn = answered(said(conversation, SECRET), a=SECRET, b=SECRET + "!")
    comparison = chosen(turn, reason_text=SECRET)
    kept = chosen(answered(said(begun(campaign, other), "Somebody else's")))
    release = DatasetRelease.objects.create(name="r1", state="frozen")
    ReleaseComparison.objects.create(release=release, comparison=comparison, split="train")

    withdrawal.withdraw(person)

    rows = [*Turn.objects.values(), *Response.objects.values(), *Comparison.objects.values()]
    rows += [*Conversation.objects.values()]
    assert "canary" not in str(rows)
    assert turn.message_sha256 == Turn.objects.get(pk=turn.pk).message_sha256 != ""
    comparison.refresh_from_db()
    kept.refresh_from_db()
    release.refresh_from_db()
    person.refresh_from_db()
    assert comparison.set_aside_reason == "withdrawn"
    assert (kept.set_aside_at, kept.turn.message) == (None, "Somebody else's")
    assert release.stale_at is not None
    assert (person.standing, person.external_id_hash) == ("withdrawn", "")


def test_the_streams_of_the_persons_turns_are_deleted(
    settings, redis_url, django_capture_on_commit_callbacks
):
    turn = said(begun(live_campaign()), SECRET)
    streaming.TurnStream(turn.public_id, attempt=1).begin()

    with django_capture_on_commit_callbacks(execute=True):
        withdrawal.withdraw(turn.conversation.crowdworker)

    assert streamed(turn, redis_url) == []


def test_withdrawing_does_not_need_the_broker(settings, django_capture_on_commit_callbacks):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    turn = said(begun(live_campaign()), SECRET)

    with django_capture_on_commit_callbacks(execute=True):
        withdrawal.withdraw(turn.conversation.crowdworker)

    turn.refresh_from_db()
    assert turn.message == ""


def test_the_persons_row_is_locked_before_anything_is_blanked(django_assert_max_num_queries):
    person = begun(live_campaign()).crowdworker

    with django_assert_max_num_queries(100) as asked:
        withdrawal.withdraw(person)

    first = next(each["sql"] for each in asked if each["sql"].startswith(("SELECT", "UPDATE")))
    assert first.startswith("SELECT")
    assert 'FROM "comparisons_crowdworker"' in first


def test_own_data_has_the_persons_texts_and_names_no_model():
    campaign = live_campaign()
    conversation = begun(campaign)
    chosen(answered(said(conversation, SECRET)), side="B")

    data = own_data(conversation.crowdworker)

    assert data["conversations"][0]["turns"] == [
        {
            "message": SECRET,
            "state": "chosen",
            "responses": {"A": "First.", "B": "Second."},
            "picked": "B",
            "strength": 3,
        }
    ]
    assert "canary-one" not in str(data)
    assert "canary-two" not in str(data)
