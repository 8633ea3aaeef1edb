"""Publish a campaign's practice comparisons, read them from lines, switch them off; all audited.

Knows sets and versions; how people do in them is `qualifying`'s.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q
from django.utils import timezone

from comparisons.core.cleaning import cleaned
from comparisons.models import (
    Account,
    Campaign,
    Qualification,
    QualificationItem,
    QualificationResult,
)
from comparisons.services import audit

MOST_ITEMS = 20
MOST_ATTEMPTS = 5
MOST_CHARACTERS = 20_000
TEXTS = ("prompt", "response_a", "response_b", "why")
FIELDS = (*TEXTS, "known_side")
SIDE_LETTER = re.compile(r"(?<![^\W_])[AB](?![^\W_])")  # standing alone, also within **A** and _A_
# "A short one is enough" begins with an article, "A answers it", "A did" and "A and B" with a side
VERB = r"[a-z]+(?<!ou)(?<!s)s|did|gave|made|told|can|could|will|would|and|or|but"
ARTICLE = re.compile(rf"(?:^|[.!?:(\n])\s*A(?= (?!(?:{VERB})\b)[a-z])")


class QualificationRefused(ValueError):
    """The set cannot be published like this; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One practice comparison as staff enter it."""

    prompt: str
    response_a: str
    response_b: str
    known_side: str
    why: str


def items_from_lines(text: str) -> list[Item]:
    """One JSON object a line: prompt, response_a, response_b, known_side (A or B), why."""
    items = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # the latter: nested without end
            raise QualificationRefused(f"line {number} is not a JSON object") from None
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in FIELDS):
            wanted = ", ".join(FIELDS)
            raise QualificationRefused(f"line {number} needs these texts: {wanted}")
        items.append(_checked(Item(**{name: row[name] for name in FIELDS}), f"line {number}"))
    return items


def _checked(item: Item, place: str) -> Item:
    """The item with its texts tidied; refuses what cannot be answered."""
    texts = {name: cleaned(getattr(item, name)) for name in TEXTS}
    side = item.known_side.strip().upper()
    missing = [name for name, text in texts.items() if not text]
    if missing:
        raise QualificationRefused(f"{place}: {', '.join(missing)} is empty")
    if any(len(text) > MOST_CHARACTERS for text in texts.values()):
        raise QualificationRefused(f"{place}: a text has more than {MOST_CHARACTERS} characters")
    if side not in QualificationItem.Side.values:
        raise QualificationRefused(f"{place}: known_side is A or B")
    if texts["response_a"] == texts["response_b"]:
        raise QualificationRefused(f"{place}: the two responses are the same")
    if named := SIDE_LETTER.search(
        ARTICLE.sub("", texts["why"])
    ):  # it may be the other one on the screen
        raise QualificationRefused(
            f"{place}: the reason says {named[0]}, but sides differ per person. Write {{right}} or "
            "{other}, which become the letters, or another word."
        )
    return Item(**texts, known_side=side)


def publish(
    campaign: Campaign,
    *,
    items: Iterable[Item],
    pass_mark: int,
    attempts: int,
    based_on: int,
    actor: Account,
) -> Qualification:
    """A new version in place of the standing one; who passed an earlier one stays in.

    `based_on` is the newest version when the form was opened: of two editors, the second is told.
    """
    checked = _checked_set(items, pass_mark=pass_mark, attempts=attempts)
    newest = campaign.qualifications.aggregate(newest=Max("version"))["newest"] or 0
    if newest != based_on:
        raise QualificationRefused(f"version {newest} was published meanwhile: look at it first")
    try:
        with transaction.atomic():
            _retire(campaign)
            published = Qualification.objects.create(
                campaign=campaign, version=newest + 1, pass_mark=pass_mark, attempts=attempts,
                published_by=actor,
            )  # fmt: skip
            QualificationItem.objects.bulk_create(
                QualificationItem(
                    qualification=published, number=number, prompt=item.prompt, why=item.why,
                    response_a=item.response_a, response_b=item.response_b,
                    known_side=item.known_side,
                )
                for number, item in enumerate(checked, start=1)
            )  # fmt: skip
            detail = {
                "version": newest + 1, "items": len(checked), "pass_mark": pass_mark,
                "attempts": attempts,
            }  # fmt: skip
            _record(campaign, actor=actor, action="qualification", detail=detail)
    except IntegrityError:
        raise QualificationRefused("Another version was published just now.") from None
    return published


def _checked_set(items: Iterable[Item], *, pass_mark: int, attempts: int) -> list[Item]:
    """The tidied items of a set that people can pass."""
    checked = [_checked(item, f"item {place}") for place, item in enumerate(items, start=1)]
    if not 1 <= len(checked) <= MOST_ITEMS:
        raise QualificationRefused(f"A set has 1 to {MOST_ITEMS} practice comparisons.")
    if not 1 <= pass_mark <= len(checked):
        raise QualificationRefused(f"The pass mark is 1 to {len(checked)}, the number of items.")
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise QualificationRefused(f"People may try 1 to {MOST_ATTEMPTS} times.")
    return checked


def switch_off(campaign: Campaign, *, actor: Account) -> bool:
    """Ask for no practice any more. False where none was asked for."""
    with transaction.atomic():
        if not _retire(campaign):
            return False
        _record(campaign, actor=actor, action="qualification_off", detail={})
    return True


def _retire(campaign: Campaign) -> bool:
    current = campaign.qualifications.filter(retired_at__isnull=True)
    return current.update(retired_at=timezone.now()) == 1


def outcomes(qualification: Qualification) -> dict[str, int]:
    """How many people tried this version, and how many of them passed."""
    results = QualificationResult.objects.filter(attempt__qualification=qualification)
    return results.aggregate(
        tried=Count("attempt__crowdworker", distinct=True),
        passed=Count("attempt__crowdworker", distinct=True, filter=Q(is_passed=True)),
    )


def _record(campaign: Campaign, *, actor: Account, action: str, detail: dict[str, int]) -> None:
    audit.record(
        actor=actor, action=f"campaign.{action}", object_type="campaign",
        object_id=campaign.slug, detail=detail,
    )  # fmt: skip
