"""Record what a person picked, exactly once.

Knows showings and comparisons; which text counts as chosen for training is read elsewhere.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import Exists
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from comparisons.core.cleaning import cleaned
from comparisons.models import (
    Campaign,
    Comparison,
    Conversation,
    Crowdworker,
    Response,
    Showing,
    Turn,
)
from comparisons.queries.prepared import Prepared, PreparedInsert
from comparisons.services import onboarding, opinions, replies
from comparisons.services.active_time import at_most, count_active
from comparisons.services.chat import lock_conversation
from comparisons.services.together import stored_together
from modelserving.core.faults import hit

REASON_TAGS = (
    "more_helpful", "more_honest", "made_up_facts", "off_topic", "too_long", "too_short", "rude",
    "unsafe", "wrong_language",
)  # fmt: skip
GONE = gettext_noop("This one went to someone else meanwhile. Your pick was not needed.")

ACTIVE = Crowdworker.Standing.ACTIVE
_HOLD: Prepared[Showing] = Prepared(
    lambda *, pk, crowdworker: Showing.objects.filter(
        pk=pk,
        crowdworker=crowdworker,
        replaced_at__isnull=True,
        judged_at__isnull=True,
        lease_until__gte=Now(),
    ).filter(Exists(Crowdworker.objects.filter(pk=crowdworker, standing=ACTIVE))),
    sets=("judged_at", "layout"),
)
_KEEP_PERSON: Prepared[Any] = Prepared(
    lambda *, pk: Crowdworker.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk")
)
_INSERT = PreparedInsert(Comparison)


class ChoiceRefused(Exception):
    """The choice cannot stand; the message says what to do."""


class AlreadyJudged(ChoiceRefused):
    """Another choice stands for this turn."""


class TextChanged(ChoiceRefused):
    """What was on the screen is not what is stored."""


class NotReady(ChoiceRefused):
    """A response is not complete."""


class LeaseOver(ChoiceRefused):
    """The second opinion went to someone else."""


class ConversationOver(ChoiceRefused):
    """The conversation takes no more choices."""


class TakenBack(ChoiceRefused):
    """What the key stored was undone since."""


class UndoOver(ChoiceRefused):
    """The choice can no longer be taken back."""


def record_choice(
    showing: Showing,
    *,
    side: str,
    strength: int,
    text_sha256: Mapping[str, str],
    choice_key: uuid.UUID,
    is_both_bad: bool = False,
    reason_tags: Sequence[str] = (),
    reason_text: str = "",
    active_milliseconds: int | None = None,
    along: Callable[[], None] = lambda: None,
) -> Comparison:
    """The same key gives the same row; `along` is done in the transaction that first stores it."""
    if side not in Comparison.Side.values or not 1 <= strength <= 4:
        raise ChoiceRefused(_("Pick a point from 1 to 8."))
    sides = {"A": showing.side_a, "B": showing.side_b}
    draft = Comparison(
        showing=showing,
        turn=showing.turn,
        crowdworker=showing.crowdworker,
        picked=sides.pop(side),
        other=sides.popitem()[1],
        side=side,
        strength=strength,
        is_both_bad=is_both_bad,
        reason_tags=[tag for tag in reason_tags if tag in REASON_TAGS],
        reason_text=cleaned(reason_text)[:2000],
        choice_key=choice_key,
        active_milliseconds=at_most(active_milliseconds),
    )
    try:
        check_standing(showing)
        check_texts(showing, text_sha256)
        return _store(draft, active_milliseconds=active_milliseconds or 0, along=along)
    except (IntegrityError, ChoiceRefused):
        if standing := _kept_by(draft, choice_key):
            return standing
        raise


def _kept_by(draft: Comparison, choice_key: uuid.UUID) -> Comparison | None:
    """What the draft's key stored meanwhile; refuses where something else stands in the way."""
    standing = of_key(draft.turn, choice_key)
    if standing is None:
        if _is_judged(draft.showing):
            raise AlreadyJudged(_("This turn was chosen already.")) from None
        check_key(choice_key)
        return None
    if (standing.side, standing.strength) != (draft.side, draft.strength):
        raise ChoiceRefused(_("Send your choice again from this page.")) from None
    return standing


def _store(draft: Comparison, *, active_milliseconds: int, along: Callable[[], None]) -> Comparison:
    conversation = draft.turn.conversation
    campaign = conversation.campaign
    assert campaign is not None, "only campaigns show responses to people"
    draft.question, draft.objective = campaign.question, conversation.objective
    draft.tranche = campaign.tranche
    is_author = draft.showing.purpose == Showing.Purpose.AUTHOR
    draft.origin = conversation.origin
    if not is_author and draft.crowdworker is not None:
        draft.origin = onboarding.origin_of(draft.crowdworker)

    def insert() -> None:
        if is_author:
            check_open(lock_conversation(conversation))
        else:
            _hold(draft.showing)
        _INSERT.insert(draft)
        if is_author:
            _carry_on(draft, campaign, active_milliseconds=active_milliseconds)
        along()
        hit("choice.before_commit")

    stored_together(insert)
    hit("choice.after_commit")
    return draft


def _carry_on(draft: Comparison, campaign: Campaign, *, active_milliseconds: int) -> None:
    """The writer's own choice carries the dialogue on, and may be asked of others too."""
    turn = draft.turn
    shown = Exists(Showing.objects.filter(pk=draft.showing_id, replaced_at__isnull=True))
    waiting = Turn.objects.filter(shown, pk=turn.pk, state=Turn.State.READY, continued_by=None)
    if waiting.update(state=Turn.State.CHOSEN, continued_by=draft) != 1:
        draft.showing.refresh_from_db(fields=["replaced_at"])
        check_standing(draft.showing)
        raise AlreadyJudged(_("This turn was chosen or skipped already."))
    count_active(turn.conversation, active_milliseconds)
    turn.continued_by = draft
    opinions.offer(turn, percent=campaign.second_opinion_percent)
    replies.offer(turn, percent=campaign.human_reply_percent)


def _hold(showing: Showing) -> None:
    """Note that the item is judged, so that nobody releases it; refuses where it went to somebody else."""
    if connection.features.has_select_for_update:  # else writers take turns
        # Until commit, as a withdrawal does: nothing is kept of one who withdrew meanwhile.
        _KEEP_PERSON.rows(pk=showing.crowdworker_id)
    held = _HOLD.update(
        pk=showing.pk,
        crowdworker=showing.crowdworker_id,
        judged_at=timezone.now(),
        layout=showing.layout,
    )
    if held != 1:
        raise LeaseOver(_(GONE))


def of_key(turn: Turn, choice_key: uuid.UUID) -> Comparison | None:
    """What this key stored for the turn before; refuses where that was taken back since."""
    stored = Comparison.objects.filter(choice_key=choice_key, turn=turn).first()
    if stored is not None and stored.superseded_at is not None:
        words = _("This choice was taken back meanwhile. Here is how it stands now.")
        raise TakenBack(words) from None
    return stored


def check_key(choice_key: uuid.UUID) -> None:
    """Refuse a key that stored a choice for another turn."""
    if Comparison.objects.filter(choice_key=choice_key).exists():
        raise ChoiceRefused(_("Send your choice again from this page."))


def check_open(conversation: Conversation) -> None:
    """Refuse a choice of the writer where the conversation is finished or was given back."""
    if conversation.state != Conversation.State.OPEN:
        raise ConversationOver(_("This conversation has ended."))


def _is_judged(showing: Showing) -> bool:
    return Comparison.objects.filter(
        turn=showing.turn_id, crowdworker=showing.crowdworker_id, superseded_at__isnull=True
    ).exists()


def check_showing(showing: Showing) -> None:
    """Refuse what was judged, replaced or given to somebody else, and what is not complete."""
    if _is_judged(showing):
        raise AlreadyJudged(_("This turn was chosen already."))
    check_standing(showing)


def check_standing(showing: Showing) -> None:
    """Refuse what was replaced and what is not complete; whether a lease is over is seen when it is stored."""
    is_over = showing.replaced_at is not None or not _is_persons(showing)
    if showing.purpose == Showing.Purpose.SECOND_OPINION and is_over:
        raise LeaseOver(_(GONE))
    if showing.replaced_at is not None:
        raise TextChanged(_("Two new responses were asked for. Here is how it stands now."))
    sides = (showing.side_a, showing.side_b)
    if any(response.state != Response.State.READY for response in sides):
        raise NotReady(_("You can choose when both responses are complete."))


def _is_persons(showing: Showing) -> bool:
    """Whether somebody holds it who may work: nothing is kept of one who withdrew."""
    person = showing.crowdworker
    return person is not None and person.standing == Crowdworker.Standing.ACTIVE


def check_texts(showing: Showing, text_sha256: Mapping[str, str]) -> None:
    """Refuse a choice between other texts than those stored."""
    stored = {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}
    if {side: text_sha256.get(side) for side in stored} != stored:
        raise TextChanged(_("The responses changed since they were shown. Read them again."))
