"""Practice comparisons before a campaign's work: who still needs them, what comes next, how it ended.

Knows items, answers and results; publishing a set is `qualification_publishing`'s.
"""

from dataclasses import dataclass
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from comparisons.models import (
    Assignment,
    Campaign,
    Crowdworker,
    Qualification,
    QualificationAnswer,
    QualificationAttempt,
    QualificationItem,
    QualificationResult,
)
from comparisons.queries.practice import is_at_work
from comparisons.services.assignment_states import move


class PracticeOver(Exception):
    """This answer is not asked for any more; the message says how it stands."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where one person is in a campaign's practice."""

    qualification: Qualification
    number: int  # of the try that is under way or comes next; past the last one when none is left
    items: tuple[QualificationItem, ...]
    answers: tuple[QualificationAnswer, ...]  # of this try, in order
    results: tuple[QualificationResult, ...]  # of the tries before it
    has_passed: bool

    @property
    def tries_left(self) -> int:
        """With the one under way."""
        return max(0, self.qualification.attempts - self.number + 1)

    @property
    def next_item(self) -> QualificationItem | None:
        """The first item without an answer, while a try is left."""
        answered = {answer.item_id for answer in self.answers}
        if self.has_passed or not self.tries_left:
            return None
        return next((item for item in self.items if item.pk not in answered), None)


def standing(campaign: Campaign) -> Qualification | None:
    """The set in force, None where the campaign asks for no practice."""
    return Qualification.objects.filter(campaign=campaign, retired_at__isnull=True).first()


def is_needed(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """Whether practice still comes first."""
    return standing(campaign) is not None and not _has_passed(crowdworker, campaign)


def comes_first(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """Whether practice stands before the work now: what was begun before it was asked for is finished."""
    return is_needed(crowdworker, campaign) and not is_at_work(crowdworker, campaign)


def is_closed(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """Whether every try was used without passing."""
    now = progress(crowdworker, campaign)
    return now is not None and not now.has_passed and not now.tries_left


def _has_passed(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """Passed in any version: a new set is for those who come new."""
    return QualificationResult.objects.filter(
        attempt__crowdworker=crowdworker,
        attempt__qualification__campaign=campaign,
        is_passed=True,
    ).exists()


def progress(crowdworker: Crowdworker, campaign: Campaign) -> Progress | None:
    """How far the person is; None where nothing is asked for."""
    qualification = standing(campaign)
    if qualification is None:
        return None
    tries = list(
        QualificationAttempt.objects.filter(crowdworker=crowdworker, qualification=qualification)
        .select_related("result")
        .order_by("number")
    )
    under_way = next((each for each in tries if not hasattr(each, "result")), None)
    answers = under_way.answers.select_related("item").order_by("pk") if under_way else ()
    return Progress(
        qualification=qualification,
        number=under_way.number if under_way else len(tries) + 1,
        items=tuple(qualification.items.all()),
        answers=tuple(answers),
        results=tuple(each.result for each in tries if hasattr(each, "result")),
        has_passed=_has_passed(crowdworker, campaign),
    )


def is_mirrored(*, crowdworker: Crowdworker, item: QualificationItem, number: int) -> bool:
    """Whether A stands on B's side in this try: fixed for a person and a try, a coin over all."""
    ticket = f"{crowdworker.public_id}:{item.pk}:{number}".encode()
    return sha256(ticket).digest()[0] % 2 == 1


def sides(*, crowdworker: Crowdworker, item: QualificationItem, number: int) -> tuple[str, str]:
    """The two texts as the person sees them, A's place first."""
    texts = (item.response_a, item.response_b)
    is_turned = is_mirrored(crowdworker=crowdworker, item=item, number=number)
    return (texts[1], texts[0]) if is_turned else texts


def letter_shown(*, side: str, is_mirrored: bool) -> str:
    """The item's own letter as it stood on the screen, and back again."""
    return {"A": "B", "B": "A"}[side] if is_mirrored else side


def answer(
    crowdworker: Crowdworker,
    campaign: Campaign,
    *,
    number: int,
    item_number: int,
    side: str,
    strength: int,
    active_milliseconds: int | None = None,
) -> QualificationAnswer:
    """Keep one answer. The first for an item stands, however often it is sent."""
    qualification = standing(campaign)
    if qualification is None:
        raise PracticeOver(_("This work asks for no practice any more."))
    item = qualification.items.filter(number=item_number).first()
    if item is None:
        raise PracticeOver(_("The practice comparisons were changed. Here is how it stands now."))
    if kept := _kept(crowdworker, item, number):
        return kept
    is_turned = is_mirrored(crowdworker=crowdworker, item=item, number=number)
    picked = letter_shown(side=side, is_mirrored=is_turned)
    try:
        with transaction.atomic():
            Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
            attempt = _attempt(crowdworker, qualification, number)
            stored = QualificationAnswer.objects.create(
                attempt=attempt,
                item=item,
                picked_side=picked,
                strength=strength,
                is_mirrored=is_turned,
                is_right=picked == item.known_side,
                active_milliseconds=active_milliseconds,
            )
            _finish(attempt)
    except IntegrityError:
        if kept := _kept(crowdworker, item, number):
            return kept
        raise
    return stored


def _kept(
    crowdworker: Crowdworker, item: QualificationItem, number: int
) -> QualificationAnswer | None:
    answers = QualificationAnswer.objects.select_related("item", "attempt")
    return answers.filter(
        attempt__crowdworker=crowdworker, attempt__number=number, item=item
    ).first()


def _attempt(
    crowdworker: Crowdworker, qualification: Qualification, number: int
) -> QualificationAttempt:
    """The try under way, or the next one, with the person's row held."""
    now = progress(crowdworker, qualification.campaign)
    if now is None or now.has_passed or not now.tries_left or now.number != number:
        raise PracticeOver(_("This try is over. Here is how it stands now."))
    attempt, _is_new = QualificationAttempt.objects.get_or_create(
        crowdworker=crowdworker, qualification=qualification, number=number
    )
    return attempt


def _finish(attempt: QualificationAttempt) -> None:
    """With the last answer: the result, and work that waited for it."""
    qualification = attempt.qualification
    total = qualification.items.count()
    if attempt.answers.count() < total:
        return
    right = attempt.answers.filter(is_right=True).count()
    is_passed = right >= qualification.pass_mark
    QualificationResult.objects.create(
        attempt=attempt, right=right, total=total, is_passed=is_passed
    )
    if not is_passed and attempt.number < qualification.attempts:
        return
    waiting = Assignment.objects.filter(
        crowdworker=attempt.crowdworker_id,
        campaign=qualification.campaign_id,
        state=Assignment.State.TRAINING,
    )
    after = Assignment.State.WORK if is_passed else Assignment.State.RETURNED
    for each in waiting:
        move(each, to=after, actor=attempt.crowdworker.account, reason=f"practice {right}/{total}")
