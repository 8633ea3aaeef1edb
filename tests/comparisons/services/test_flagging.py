"""Flags: one open one for each turn, person and kind, however often the button is pressed."""

import threading

import pytest
from django.db import connections

from comparisons.models import Crowdworker, Flag
from comparisons.services import onboarding, quality, withdrawal
from comparisons.services.flagging import flag_turn
from tests.comparisons.making import make_account, make_comparison, make_conversation

AT_ONCE = 4


@pytest.mark.django_db
def test_a_second_note_replaces_the_first_until_it_was_looked_at():
    turn = make_comparison(make_conversation()).turn
    person = turn.conversation.crowdworker

    first = flag_turn(turn, person, kind="other", note="One")
    again = flag_turn(turn, person, kind="other", note="Two")
    quality.resolve_flag(first, actor=make_account("administrator"))
    later = flag_turn(turn, person, kind="other", note="Three")

    assert (again.pk, later.pk == first.pk) == (first.pk, False)
    assert list(Flag.objects.order_by("pk").values_list("note", flat=True)) == ["Two", "Three"]


@pytest.mark.django_db(transaction=True)
def test_pressed_several_times_at_once_it_is_one_flag_and_can_be_pressed_again():
    turn = make_comparison(make_conversation()).turn
    person = turn.conversation.crowdworker
    together = threading.Barrier(AT_ONCE)

    def press() -> None:
        together.wait()
        flag_turn(turn, person, kind="other", note="Note")
        connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flag_turn(turn, person, kind="other", note="Again")

    assert list(Flag.objects.values_list("note", flat=True)) == ["Again"]


@pytest.mark.django_db
def test_a_person_who_withdrew_leaves_no_note():
    turn = make_comparison(make_conversation()).turn
    person = turn.conversation.crowdworker
    withdrawal.withdraw(person)

    with pytest.raises(onboarding.NoWork):
        flag_turn(turn, Crowdworker.objects.get(pk=person.pk), kind="other", note="canary")

    assert not Flag.objects.exists()
