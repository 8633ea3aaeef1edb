"""A dialogue as it happens: start, say, end.

Knows conversations and turns; responses are written by `generating`, choices by `judging`.
"""

import uuid
from collections.abc import Mapping
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons import tasks
from comparisons.core.cleaning import cleaned
from comparisons.core.splits import first_message_sha256
from comparisons.models import Assignment, Conversation, Crowdworker, Turn
from comparisons.services import assignment_ends, onboarding, wellbeing
from comparisons.services.active_time import count_active
from comparisons.services.drawing import Look, add_responses, draw_pair
from modelserving import doorbell

QUESTIONS = ("success", "harmfulness", "actionability")
OPEN_TURN = (Turn.State.GENERATING, Turn.State.READY, Turn.State.FAILED)


class ChatRefused(Exception):
    """The request cannot be done as it stands; the message says what to do."""


class EmptyMessage(ChatRefused):
    """Nothing was written."""


class MessageTooLong(ChatRefused):
    """More characters than the campaign allows."""


class WentOn(ChatRefused):
    """The conversation is not where this page believes it is."""


class TurnInFlight(ChatRefused):
    """Another conversation of the same person is still being answered."""


def start_conversation(assignment: Assignment) -> Conversation:
    """The open conversation of the assignment, or its next one."""
    if assignment.state != Assignment.State.WORK:
        raise WentOn(_("This work is not open. Go to its start page."))
    standing = assignment.conversations.filter(state=Conversation.State.OPEN).first()
    if standing:
        return standing
    position = assignment.conversations.filter(position__isnull=False).count() + 1
    if position > assignment.conversations_required:
        raise WentOn(_("All conversations of this assignment are finished."))
    campaign = assignment.campaign
    try:
        with transaction.atomic():
            _hold_for_work(assignment)
            return Conversation.objects.create(
                crowdworker_id=assignment.crowdworker_id,
                assignment=assignment,
                campaign=campaign,
                position=position,
                objective=campaign.objective,
                origin=onboarding.origin_of(assignment.crowdworker),
            )
    except IntegrityError:  # another tab was first: its conversation is the one
        return assignment.conversations.get(position=position)


def _hold_for_work(assignment: Assignment) -> None:
    """Hold the person until commit, and look again: they may have withdrawn or handed it in just now."""
    person = Crowdworker.objects.select_for_update().get(pk=assignment.crowdworker_id)
    onboarding.check_active(person)
    if not Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.WORK).exists():
        raise WentOn(_("This work is not open. Go to its start page."))


def set_intent(conversation: Conversation, text: str, *, topic: str = "") -> None:
    """Red team: what the person will try and what it touches, before the first turn."""
    intent = cleaned(text)[:1000]
    if not intent:
        raise EmptyMessage(_("Write one or two sentences about what you will try."))
    named = topic if topic in wellbeing.TOPICS else ""
    with transaction.atomic():
        locked = lock_conversation(conversation)
        assert locked.crowdworker is not None
        onboarding.check_active(locked.crowdworker)
        if locked.state != Conversation.State.OPEN or locked.turns.exists():
            raise WentOn(_("This conversation has begun already."))
        Conversation.objects.filter(pk=locked.pk).update(intent=intent, topic=named)


def say(
    conversation: Conversation,
    *,
    text: str,
    message_key: uuid.UUID,
    look: Look | None = None,
    after: int | None = None,
    active_milliseconds: int = 0,
) -> Turn:
    """Store the message with two pending responses; the same key gives the same turn.

    `after` is the number of turns the page knew: a page that is behind is told so.
    """
    if standing := _turn_of_key(conversation, message_key, text=text):
        return standing
    message = _checked_message(conversation, text)
    try:
        with transaction.atomic():
            return _store(
                conversation,
                message=message,
                message_key=message_key,
                look=look or Look(),
                after=after,
                active_milliseconds=active_milliseconds,
            )
    except (IntegrityError, WentOn) as late:  # the same request may have won the lock
        if standing := _turn_of_key(conversation, message_key, text=text):
            return standing
        if isinstance(late, WentOn):
            raise
        raise WentOn(_("This conversation went on in another tab.")) from None


def _store(
    conversation: Conversation,
    *,
    message: str,
    message_key: uuid.UUID,
    look: Look,
    after: int | None,
    active_milliseconds: int,
) -> Turn:
    locked = lock_conversation(conversation)
    crowdworker = locked.crowdworker
    assert crowdworker is not None
    assert locked.campaign is not None
    last = locked.turns.order_by("-index").first()
    index = last.index + 1 if last else 0
    if last and last.state in OPEN_TURN:
        raise WentOn(_("Choose a response first, or skip this turn."))
    if after is not None and after != index:
        raise WentOn(_("This conversation went on in another tab."))
    check_may_say(locked, crowdworker)
    draw = draw_pair(locked.campaign)
    turn = Turn.objects.create(
        conversation=locked,
        index=index,
        message=message,
        message_sha256=_sha256(message),
        message_key=message_key,
        is_held_back=draw.is_held_back,
        slot_generation=draw.slot_generation,
        pairing_rule=draw.pair.rule,
        pair_probability=draw.pair.probability,
    )
    add_responses(turn, draw=draw, crowdworker=crowdworker, look=look)
    if index == 0 and not locked.opening:
        digest = first_message_sha256(message)
        Conversation.objects.filter(pk=locked.pk).update(first_message_sha256=digest)
    count_active(locked, active_milliseconds)
    ring(turn)
    return turn


def check_may_say(conversation: Conversation, crowdworker: Crowdworker) -> None:
    """Refuse new responses where the conversation, the person's consent or a limit forbids them."""
    check_goes_on(conversation, crowdworker)
    campaign = conversation.campaign
    assert campaign is not None
    if campaign.is_red_team:
        if not conversation.intent:
            raise ChatRefused(_("Write first what you will try."))
        wellbeing.check_daily_cap(crowdworker, campaign)


def check_goes_on(conversation: Conversation, crowdworker: Crowdworker) -> None:
    """Refuse writing where the conversation or its work is over, or another one is being answered."""
    if conversation.state != Conversation.State.OPEN:
        raise WentOn(_("This conversation has ended."))
    assignment, campaign = conversation.assignment, conversation.campaign
    if assignment is not None and assignment.state != Assignment.State.WORK:
        raise WentOn(_("This work is not open. Go to its start page."))
    assert campaign is not None
    onboarding.check_may_work(crowdworker, campaign)
    check_writes_nowhere_else(conversation, crowdworker)


def check_writes_nowhere_else(conversation: Conversation, crowdworker: Crowdworker) -> None:
    """Refuse responses where two are being written in another of the person's conversations."""
    busy = Turn.objects.filter(
        conversation__crowdworker=crowdworker, state=Turn.State.GENERATING
    ).exclude(conversation=conversation)
    if busy.exists():
        raise TurnInFlight(_("Two responses are still being written in another conversation."))


def _checked_message(conversation: Conversation, text: str) -> str:
    message = cleaned(text)
    if not message:
        raise EmptyMessage(_("Write a message first."))
    limit = conversation.campaign.max_message_characters if conversation.campaign else 4000
    if len(message) > limit:
        words = _("{count} characters; at most {limit} fit. Shorten it a little.")
        raise MessageTooLong(words.format(count=len(message), limit=limit))
    return message


def _turn_of_key(conversation: Conversation, key: uuid.UUID, *, text: str) -> Turn | None:
    """What the key stored before; another text under the same key was never stored."""
    standing = conversation.turns.filter(message_key=key).first()
    if standing is not None and standing.message_sha256 != _sha256(cleaned(text)):
        raise WentOn(_("This conversation went on in another tab."))
    return standing


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def lock_conversation(conversation: Conversation) -> Conversation:
    """The row, held until commit on PostgreSQL; SQLite's writers queue anyway.

    The person's row is held too: one turn in flight per person, over all conversations.
    """
    assert conversation.crowdworker_id is not None, "imported conversations do not go on"
    Crowdworker.objects.select_for_update().get(pk=conversation.crowdworker_id)
    return (
        Conversation.objects.select_for_update(of=("self",))
        .select_related("campaign", "crowdworker", "assignment")
        .get(pk=conversation.pk)
    )


def ring(turn: Turn) -> None:
    """Ring for a worker once the rows are there; a lost bell is rung again by the reconciler."""
    doorbell.ring_on_commit(tasks.fill_turn, turn_id=turn.pk)


def end_conversation(
    conversation: Conversation,
    *,
    rating: int | None = None,
    comment: str = "",
    questionnaire: Mapping[str, int] | None = None,
    active_milliseconds: int = 0,
) -> Conversation:
    """Finish the conversation; the last one of an assignment submits it.

    One in which nothing was chosen is not counted: another one takes its place.
    """
    answers = {name: int(value) for name, value in (questionnaire or {}).items()}
    if not set(answers) <= set(QUESTIONS) or not all(1 <= each <= 5 for each in answers.values()):
        raise ChatRefused(_("Answer each end question with a point from 1 to 5."))
    if rating is not None and not 1 <= rating <= 4:
        raise ChatRefused(_("Rate the conversation from bad to good."))
    remark = cleaned(comment)[:4000]
    with transaction.atomic():
        locked = lock_conversation(conversation)
        said = (locked.overall_rating, locked.questionnaire, locked.comment)
        if locked.state == Conversation.State.OPEN:
            if locked.turns.filter(state__in=OPEN_TURN).exists():
                raise WentOn(_("Choose a response first, or skip this turn."))
            count_active(locked, active_milliseconds)
            Conversation.objects.filter(pk=locked.pk).update(
                overall_rating=rating,
                questionnaire=answers,
                comment=remark,
                finished_at=timezone.now(),
                **_how_it_ends(locked),
            )
            if locked.assignment is not None:
                assignment_ends.submit_when_finished(locked.assignment)
        elif locked.finished_at is None or said != (rating, answers, remark):  # no second click
            raise WentOn(_("This conversation has ended. What you say about it now was not kept."))
    conversation.refresh_from_db()
    return conversation


def _how_it_ends(conversation: Conversation) -> dict[str, object]:
    """Finished where something was chosen; otherwise it is left, and its place is free again."""
    if not conversation.turns.exists():
        raise EmptyMessage(_("Write a message first."))
    if conversation.turns.filter(continued_by__isnull=False).exists():
        return {"state": Conversation.State.FINISHED}
    return {"state": Conversation.State.ABANDONED, "position": None}


def keep_comment(conversation: Conversation, comment: str) -> None:
    """Keep the comment as it is typed."""
    if conversation.crowdworker is not None:
        onboarding.check_active(conversation.crowdworker)
    open_one = Conversation.objects.filter(pk=conversation.pk, state=Conversation.State.OPEN)
    if not open_one.update(comment=cleaned(comment)[:4000]):
        raise WentOn(_("This conversation has ended: the comment could not be added."))
