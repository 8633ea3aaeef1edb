"""A prepared question answers as the queryset it was made of, whatever values go in."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Conversation, Crowdworker, Showing
from comparisons.queries import opinions
from comparisons.queries.prepared import Prepared
from tests.comparisons.making import make_campaign, make_comparison, make_conversation

pytestmark = pytest.mark.django_db


@pytest.fixture
def showings():
    for opening in ([], [{"role": "human", "content": "Hi"}]):
        make_comparison(make_conversation(opening=opening))
    return list(Showing.objects.order_by("pk"))


def test_instances_are_those_of_the_queryset_with_what_is_related(
    showings, django_assert_num_queries
):
    def build(*, public_id):
        items = Showing.objects.filter(public_id=public_id)
        return items.select_related("turn__conversation", "side_a").only(
            "public_id",
            "created_at",
            "turn__message",
            "turn__conversation__opening",
            "side_a__text",
        )

    prepared = Prepared(build)

    for showing in showings:
        (found,) = prepared.objects(public_id=showing.public_id)
        with django_assert_num_queries(0):
            assert found == showing
            assert found.created_at == showing.created_at
            opening, text = found.turn.conversation.opening, found.side_a.text
        assert (opening, text) == (showing.turn.conversation.opening, showing.side_a.text)
    assert prepared.objects(public_id=uuid.uuid4()) == []


def test_lists_of_any_length_and_times_and_texts_go_in(showings):
    prepared = Prepared(
        lambda *, keys, before, layout: Showing.objects.filter(
            pk__in=keys, created_at__lt=before, layout=layout
        ).values_list("pk", "public_id", "created_at")
    )
    keys = [each.pk for each in showings]
    later, earlier = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(hours=1)

    def expected(some):
        return list(
            Showing.objects.filter(pk__in=some).values_list("pk", "public_id", "created_at")
        )

    assert prepared.rows(keys=keys, before=later, layout="") == expected(keys)
    assert prepared.rows(keys=keys[1:], before=later, layout="") == expected(keys[1:])
    assert prepared.rows(keys=keys, before=earlier, layout="") == []
    assert prepared.rows(keys=keys, before=later, layout="stacked") == []


def test_an_update_writes_into_the_rows_it_finds_and_counts_them(showings):
    prepared = Prepared(
        lambda *, pk, layout: Showing.objects.filter(
            pk=pk, replaced_at__isnull=True, layout=layout
        ),
        sets=("crowdworker", "lease_until", "theme", "is_covered"),
    )
    one, other = showings
    now = timezone.now()
    new = {"lease_until": now, "theme": "dark", "is_covered": True}

    assert prepared.update(pk=one.pk, layout="", crowdworker=None, **new) == 1
    assert prepared.update(pk=one.pk, layout="stacked", crowdworker=None, **new) == 0
    assert prepared.update(pk=0, layout="", crowdworker=other.crowdworker_id, **new) == 0

    columns = ("crowdworker", "lease_until", "theme", "is_covered")
    rows = Showing.objects.order_by("pk").values_list(*columns)
    assert list(rows) == [
        (None, now, "dark", True),
        (other.crowdworker_id, None, "", False),
    ]
    assert prepared.update(pk=one.pk, layout="", crowdworker=other.crowdworker_id, **new) == 1
    assert Showing.objects.get(pk=one.pk).crowdworker_id == other.crowdworker_id


def test_a_number_of_a_narrow_column_goes_in(showings):
    """PostgreSQL's integers end at 32 bits, and Django leaves out a condition beyond them."""
    prepared = Prepared(
        lambda *, index: Showing.objects.filter(turn__index__lt=index).values_list("pk")
    )

    assert prepared.rows(index=1) == [(each.pk,) for each in showings]
    assert prepared.rows(index=0) == []


def test_a_value_that_is_not_asked_for_is_refused():
    prepared = Prepared(lambda *, pk, **_forgotten: Crowdworker.objects.filter(pk=pk))

    with pytest.raises(AssertionError, match="forgotten"):
        prepared.rows(pk=1, forgotten=2)


def test_the_queue_of_a_person_without_campaigns_is_empty_without_asking(
    django_assert_num_queries,
):
    conversation = make_conversation(campaign=make_campaign())
    person = Conversation.objects.get(pk=conversation.pk).crowdworker

    with django_assert_num_queries(0):
        assert opinions.next_items(person, campaigns=[]) == []
        assert opinions.standing_items(person, campaigns=[]) == []
