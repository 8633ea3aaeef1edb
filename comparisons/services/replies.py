"""Replies written by people: a queue of prompts with leases, each reply then set against a model's.

Knows wanted replies and responses; the comparison with the model's reply is `opinions`' queue.
"""

import hashlib
from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.core.cleaning import cleaned
from comparisons.models import (
    Comparison,
    Crowdworker,
    LapsedReply,
    PassedReply,
    Response,
    Turn,
    WantedReply,
)
from comparisons.queries import opinions as queue
from comparisons.queries.flags import HEEDED, PERSONAL_DATA, flagged
from comparisons.queries.opinions import OpenCampaign
from comparisons.services import opinions, wellbeing
from comparisons.services.onboarding import check_active
from comparisons.services.turns import known_reason

LEASE = wellbeing.REPLY_LEASE
MOST_CHARACTERS = 20_000
MOST_ACTIVE_MILLISECONDS = 60 * 60 * 1000
LOOKED_AT = 40  # waiting prompts considered at once, so that many people do not all want the first


class ReplyRefused(Exception):
    """The reply cannot be kept; the message says what to do."""


class ReplyLeaseOver(ReplyRefused):
    """The prompt went to someone else."""


def offer(turn: Turn, *, percent: int) -> WantedReply | None:
    """Ask for a person's reply to a chosen turn when its number falls within the share."""
    comparison = turn.continued_by
    if comparison is None or _ticket(turn) >= percent or _models_reply(comparison) is None:
        return None
    wanted, _is_new = WantedReply.objects.get_or_create(turn=turn)
    return wanted


def _ticket(turn: Turn) -> int:
    """A fixed number from 0 to 99 for each turn, another one than that of second opinions."""
    return int(hashlib.sha256(b"reply" + turn.public_id.bytes).hexdigest()[:8], 16) % 100


def _models_reply(comparison: Comparison) -> Response | None:
    """What the written reply is set against: the better of the two that a deployment wrote."""
    pair = (comparison.picked, comparison.other)
    return next((each for each in pair if each.deployment_id is not None), None)


def take(crowdworker: Crowdworker) -> WantedReply | None:
    """The prompt in the person's hands, or the next one that nobody holds."""
    if in_hand := held(crowdworker):
        mine = WantedReply.objects.filter(
            pk=in_hand.pk, crowdworker=crowdworker, response__isnull=True
        )
        return in_hand if mine.update(lease_until=Now() + LEASE) else None
    _give_up_dead(crowdworker)
    waiting = list(_waiting_for(crowdworker).values_list("pk", flat=True)[:LOOKED_AT])
    start = crowdworker.pk % len(waiting) if waiting else 0
    for pk in waiting[start:] + waiting[:start]:
        if wanted := _claimed(pk, crowdworker):
            return wanted
    return None


def held(crowdworker: Crowdworker) -> WantedReply | None:
    """What the person holds on a lease that goes on."""
    return _held(crowdworker).first()


def _held(crowdworker: Crowdworker) -> QuerySet[WantedReply]:
    return _loaded(queue.open_campaigns(crowdworker)).filter(
        crowdworker=crowdworker, response__isnull=True, lease_until__gt=Now()
    )


def _give_up_dead(crowdworker: Crowdworker) -> None:
    """Let go of a prompt that nobody can answer now, such as one whose choice was undone: a person holds one."""
    mine = WantedReply.objects.filter(crowdworker=crowdworker, response__isnull=True)
    for dead in list(mine.exclude(pk__in=_held(crowdworker).values("pk"))):
        _lapse(dead)


def _lapse(wanted: WantedReply) -> bool:
    """Put a prompt back into the queue; that it was read counts still. False where it went on meanwhile."""
    assert wanted.crowdworker_id is not None, "only what somebody holds can lapse"
    same = WantedReply.objects.filter(
        pk=wanted.pk,
        crowdworker=wanted.crowdworker_id,
        lease_until=wanted.lease_until,
        response__isnull=True,
    )
    with transaction.atomic():
        # The person's row first, as `write` holds it.
        person = Crowdworker.objects.select_for_update().get(pk=wanted.crowdworker_id)
        if same.update(crowdworker=None, lease_until=None) != 1:
            return False
        until = wanted.lease_until or timezone.now()
        LapsedReply.objects.create(wanted=wanted, crowdworker=person, shown_at=until - LEASE)
    return True


def _loaded(campaigns: Sequence[OpenCampaign]) -> QuerySet[WantedReply]:
    """Prompts of conversations of these campaigns."""
    return WantedReply.objects.select_related("turn__conversation__campaign").filter(
        turn__conversation__is_withdrawn=False,
        turn__conversation__campaign__in=[each.pk for each in campaigns],
        turn__continued_by__isnull=False,
    )


def _waiting_for(crowdworker: Crowdworker) -> QuerySet[WantedReply]:
    passed = PassedReply.objects.filter(wanted=OuterRef("pk"), crowdworker=crowdworker)
    judged = Comparison.objects.filter(turn=OuterRef("turn"), crowdworker=crowdworker)
    campaigns = opinions.under_cap(crowdworker, queue.open_campaigns(crowdworker))
    waiting = _loaded(campaigns).filter(
        ~flagged(HEEDED | PERSONAL_DATA), crowdworker__isnull=True, response__isnull=True
    )
    others = waiting.exclude(turn__conversation__crowdworker=crowdworker)
    others = others.filter(queue.limits_of(crowdworker))
    return others.filter(~Exists(passed), ~Exists(judged)).order_by("pk")


def waiting_count(crowdworker: Crowdworker) -> int:
    """How many prompts the person could take, or one in hand; counted up to one hundred."""
    waiting = len(_waiting_for(crowdworker).values_list("pk", flat=True)[:100])
    return waiting or int(held(crowdworker) is not None)


def _claimed(pk: int, crowdworker: Crowdworker) -> WantedReply | None:
    free = WantedReply.objects.filter(pk=pk, crowdworker__isnull=True, response__isnull=True)
    try:
        with transaction.atomic():
            person = Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
            if not _waiting_for(person).filter(pk=pk).exists():
                return None
            taken = free.update(crowdworker=person, lease_until=Now() + LEASE)
    except IntegrityError:  # another tab of the same person took one first
        return held(crowdworker)
    return _loaded(queue.open_campaigns(person)).filter(pk=pk).first() if taken == 1 else None


def write(
    wanted: WantedReply, crowdworker: Crowdworker, *, text: str, active_milliseconds: int = 0
) -> Response:
    """Keep the person's reply and put it beside the model's, for somebody else to compare."""
    written = cleaned(text)
    if not written or len(written) > MOST_CHARACTERS:
        words = _("Write between 1 and {most} characters.")
        raise ReplyRefused(words.format(most=MOST_CHARACTERS))
    with transaction.atomic():
        # The person's row first, as a withdrawal holds it: one of the two waits.
        check_active(Crowdworker.objects.select_for_update().get(pk=crowdworker.pk))
        locked = WantedReply.objects.select_for_update(of=("self",)).get(pk=wanted.pk)
        if locked.crowdworker_id != crowdworker.pk:
            raise ReplyLeaseOver(_("This one went to someone else. Your text is kept below."))
        if locked.response is not None:  # a second click
            return locked.response
        turn = Turn.objects.select_related(
            "conversation", "continued_by__picked", "continued_by__other"
        ).get(pk=locked.turn_id)
        against = _models_reply(turn.continued_by) if turn.continued_by else None
        if against is None or turn.conversation.is_withdrawn:
            raise ReplyRefused(_("This message needs no reply any more. Take the next one."))
        if written == cleaned(against.text):
            raise ReplyRefused(_("Write a reply in your own words."))
        response = _response(turn, crowdworker, text=written)
        spent = min(max(active_milliseconds, 0), MOST_ACTIVE_MILLISECONDS)
        WantedReply.objects.filter(pk=locked.pk).update(
            response=response, written_at=timezone.now(), active_milliseconds=spent
        )
        opinions.put_up(turn, response.pk, against.pk)
    return response


def _response(turn: Turn, crowdworker: Crowdworker, *, text: str) -> Response:
    return Response.objects.create(
        turn=turn,
        author=crowdworker,
        state=Response.State.READY,
        text=text,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        finish_reason=Response.FinishReason.WRITTEN,
        completed_at=timezone.now(),
    )


def pass_on(wanted: WantedReply, crowdworker: Crowdworker, *, reason: str = "") -> None:
    """Give a prompt back without a reply; it goes to somebody else and not to this person again."""
    mine = WantedReply.objects.filter(pk=wanted.pk, crowdworker=crowdworker, response__isnull=True)
    with transaction.atomic():
        if mine.update(crowdworker=None, lease_until=None):
            PassedReply.objects.get_or_create(
                wanted=wanted, crowdworker=crowdworker, defaults={"reason": known_reason(reason)}
            )


def release_overdue() -> int:
    """Put prompts whose lease ran out back into the queue; the number of them."""
    overdue = WantedReply.objects.filter(
        crowdworker__isnull=False, response__isnull=True, lease_until__lt=Now()
    )
    return sum(_lapse(each) for each in list(overdue))
