"""One choice per turn and person: complete, for the texts that were shown, undone with a trace."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from comparisons.models import Assignment, ChoiceUndo, Comparison, Conversation, Response, Turn
from comparisons.services import judging, turns, undoing
from comparisons.services.turns import author_showing
from tests.comparisons.talking import answered, begun, chosen, hash_of, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def ready_turn(**values) -> Turn:
    return answered(said(begun(live_campaign(**values))))


def test_choice_keeps_everything_that_was_said_about_it():
    turn = ready_turn(objective="harmless", tranche="online")
    Assignment.objects.update(counted_since=timezone.now() - timedelta(minutes=1))

    comparison = chosen(
        turn, side="B", strength=1, is_both_bad=True, reason_tags=["too_long", "nonsense"],
        reason_text=" Why\x00 not ", active_milliseconds=5000,
    )  # fmt: skip

    turn.refresh_from_db()
    showing = author_showing(turn)
    assert (comparison.picked, comparison.other) == (showing.side_b, showing.side_a)
    assert (comparison.side, comparison.strength, comparison.is_both_bad) == ("B", 1, True)
    assert (comparison.question, comparison.objective) == ("more_harmful", "harmless")
    assert (comparison.tranche, comparison.origin) == ("online", "crowd")
    assert (comparison.reason_tags, comparison.reason_text) == (["too_long"], "Why not")
    assert (turn.state, turn.continued_by) == ("chosen", comparison)
    assert turn.conversation.assignment.active_milliseconds == 5000


def test_same_key_is_the_same_row():
    turn, key = ready_turn(), uuid.uuid4()

    first = chosen(turn, key=key)
    assert chosen(turn, key=key) == first
    with pytest.raises(judging.ChoiceRefused, match="again from this page"):
        chosen(turn, key=key, side="B" if first.side == "A" else "A")
    assert list(Comparison.objects.values_list("side", flat=True)) == [first.side]


def test_a_second_choice_is_refused_and_changes_nothing():
    turn = ready_turn()
    first = chosen(turn)

    with pytest.raises(judging.AlreadyJudged):
        chosen(turn, side="B")

    assert list(Comparison.objects.all()) == [first]


def test_a_key_of_another_turn_is_refused_and_stores_nothing():
    key = uuid.uuid4()
    chosen(ready_turn(), key=key)
    turn = ready_turn(names=("x", "y"))

    with pytest.raises(judging.ChoiceRefused, match="again from this page"):
        chosen(turn, key=key)

    assert not turn.comparisons.exists()


@pytest.mark.parametrize("state", ["finished", "abandoned"])
def test_an_ended_conversation_takes_no_choice_and_gives_a_sent_one_back(state):
    turn, key = ready_turn(), uuid.uuid4()
    Conversation.objects.update(state=state)
    with pytest.raises(judging.ConversationOver):
        chosen(turn, key=key)
    Conversation.objects.update(state="open")

    first = chosen(turn, key=key)
    Conversation.objects.update(state=state)

    assert chosen(turn, key=key) == first


@pytest.mark.parametrize("side", ["A", "B"])
def test_incomplete_responses_cannot_be_judged(side):
    turn = ready_turn()
    showing = author_showing(turn)
    pk = showing.side_a_id if side == "A" else showing.side_b_id
    Response.objects.filter(pk=pk).update(state="pending")

    with pytest.raises(judging.NotReady):
        chosen(turn)


def test_other_texts_than_those_stored_are_refused():
    turn = ready_turn()
    showing = author_showing(turn)

    with pytest.raises(judging.TextChanged):
        judging.record_choice(
            showing, side="A", strength=2, choice_key=uuid.uuid4(),
            text_sha256={"A": hash_of("First."), "B": hash_of("Something else.")},
        )  # fmt: skip


def test_a_replaced_showing_cannot_be_judged():
    turn = ready_turn()
    before = author_showing(turn)
    answered(turns.regenerate(turn))
    before.refresh_from_db()

    with pytest.raises(judging.TextChanged):
        judging.record_choice(
            before, side="A", strength=2, choice_key=uuid.uuid4(),
            text_sha256={"A": hash_of("First."), "B": hash_of("Second.")},
        )  # fmt: skip


def test_a_pair_that_was_replaced_while_the_choice_was_on_its_way_cannot_be_judged():
    turn = ready_turn()
    shown = author_showing(turn)  # as the request read it, before the responses were asked for anew
    answered(turns.regenerate(turn), a="Third.", b="Fourth.")

    with pytest.raises(judging.TextChanged):
        judging.record_choice(
            shown, side="A", strength=3, choice_key=uuid.uuid4(),
            text_sha256={"A": shown.side_a.text_sha256, "B": shown.side_b.text_sha256},
        )  # fmt: skip

    turn.refresh_from_db()
    assert (turn.state, Comparison.objects.count()) == ("ready", 0)


def test_a_choice_takes_half_an_hour_at_most_whatever_the_page_says():
    assert chosen(ready_turn(), active_milliseconds=2**40).active_milliseconds == 30 * 60 * 1000


def test_a_skipped_turn_cannot_be_judged():
    turn = ready_turn()
    turns.skip_turn(turn)

    with pytest.raises(judging.AlreadyJudged):
        chosen(turn)

    assert not Comparison.objects.exists()


@pytest.mark.parametrize(("side", "strength"), [("C", 2), ("A", 0), ("B", 5)])
def test_points_outside_the_strip_are_refused(side, strength):
    turn = ready_turn()

    with pytest.raises(judging.ChoiceRefused):
        chosen(turn, side=side, strength=strength)


def test_undo_leaves_a_trace_and_lets_one_choose_again():
    turn = ready_turn()
    first = chosen(turn, side="A")

    undoing.undo_choice(first)
    second = chosen(turn, side="B")

    first.refresh_from_db()
    turn.refresh_from_db()
    assert first.superseded_at is not None
    assert ChoiceUndo.objects.get().comparison == first
    assert turn.continued_by == second


def test_a_choice_sent_again_after_its_undo_is_refused_and_stores_nothing():
    turn, key = ready_turn(), uuid.uuid4()
    undoing.undo_choice(chosen(turn, key=key))

    with pytest.raises(judging.TakenBack, match="taken back meanwhile"):
        chosen(turn, key=key)
    another = chosen(turn, side="B")
    with pytest.raises(judging.TakenBack):
        chosen(turn, key=key)

    assert Comparison.objects.filter(superseded_at__isnull=True).get() == another
    assert Comparison.objects.count() == 2


def test_undo_is_over_after_the_next_message_the_window_or_the_first_undo():
    turn = ready_turn()
    comparison = chosen(turn)
    said(turn.conversation, "Next")
    with pytest.raises(judging.UndoOver):
        undoing.undo_choice(comparison)

    other = ready_turn()
    late = chosen(other)
    Comparison.objects.filter(pk=late.pk).update(created_at=timezone.now() - timedelta(hours=1))
    late.refresh_from_db()
    with pytest.raises(judging.UndoOver):
        undoing.undo_choice(late)

    third = chosen(ready_turn())
    undoing.undo_choice(third)
    with pytest.raises(judging.UndoOver):
        undoing.undo_choice(third)


def together(count: int, act) -> list[object]:
    """The outcomes of `count` calls that begin at once, errors as values."""
    outcomes: list[object] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes[number] = act(number)
        except judging.ChoiceRefused as refused:
            outcomes[number] = type(refused).__name__
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_with_one_key_give_one_row():
    turn, key = ready_turn(), uuid.uuid4()

    outcomes = together(20, lambda _: chosen(turn, key=key).pk)

    assert set(outcomes) == {Comparison.objects.get().pk}


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_with_different_keys_let_one_through():
    turn = ready_turn()

    outcomes = together(20, lambda number: chosen(turn, side="AB"[number % 2]).pk)

    turn.refresh_from_db()
    assert sorted(map(str, outcomes)) == sorted(
        [str(turn.continued_by_id)] + 19 * ["AlreadyJudged"]
    )
    assert Comparison.objects.count() == 1
