"""Set up where a campaign recruits, open and close it, settle what came in; all audited.

Knows sources and the states of their assignments; knows nobody's id elsewhere.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from comparisons.models import Account, ArrivalSource, Assignment, Campaign
from comparisons.services import audit
from comparisons.services.assignment_states import move

Platform = ArrivalSource.Platform
FIELDS = (
    "platform", "label", "external_study_id", "completion_code", "completion_url", "id_parameter",
    "submission_parameter", "pay_amount", "pay_currency", "places",
)  # fmt: skip
CHANGEABLE = ("label", "completion_code", "completion_url", "pay_amount", "places", "is_open")


class SourceRefused(ValueError):
    """The source cannot be like this; the message says what to change."""


def make_source(campaign: Campaign, *, values: Mapping[str, Any], actor: Account) -> ArrivalSource:
    """A new, open source of the campaign."""
    if unknown := set(values) - set(FIELDS):
        raise SourceRefused(f"no field of a source: {', '.join(sorted(unknown))}")
    _check(values)
    try:
        with transaction.atomic():
            source = ArrivalSource.objects.create(campaign=campaign, created_by=actor, **values)
            _record(source, actor=actor, action="create", detail={"platform": source.platform})
    except IntegrityError:
        study = values.get("external_study_id", "")
        if study and ArrivalSource.objects.filter(external_study_id=study).exists():
            raise SourceRefused(f"there is a source for {study} already") from None
        raise
    return source


def change_source(
    source: ArrivalSource, *, changes: Mapping[str, Any], actor: Account
) -> list[str]:
    """Store the fields that differ, each written into the audit as old and new."""
    if unknown := set(changes) - set(CHANGEABLE):
        raise SourceRefused(f"cannot be changed: {', '.join(sorted(unknown))}")
    _check({"platform": source.platform, "completion_code": source.completion_code, **changes})
    detail = {}
    for name, new in changes.items():
        if getattr(source, name) != new:
            detail[name] = [str(getattr(source, name)), str(new)]
            setattr(source, name, new)
    if detail:
        with transaction.atomic():
            source.save(update_fields=list(detail))
            _record(source, actor=actor, action="change", detail=detail)
    return list(detail)


def settle(source: ArrivalSource, *, to: str, actor: Account, until: datetime) -> int:
    """Move what can take this step: submitted to accepted, accepted to paid.

    `until` is when the page was made on which it was decided: what came after it waits for the next look.
    """
    before = {"accepted": Assignment.State.SUBMITTED, "paid": Assignment.State.ACCEPTED}.get(to)
    if before is None:
        raise SourceRefused("choose to accept what was submitted, or to mark as paid")
    unseen = {"submitted_at__gt" if to == "accepted" else "accepted_at__gt": until}
    waiting = Assignment.objects.filter(arrival__source=source, state=before).exclude(**unseen)
    return sum(move(each, to=to, actor=actor, reason="settled") for each in waiting.order_by("pk"))


def _check(values: Mapping[str, Any]) -> None:
    if values["platform"] == Platform.PROLIFIC and not values.get("completion_code"):
        raise SourceRefused("Prolific needs the completion code of the study")
    is_unnamed = "id_parameter" in values and not values["id_parameter"]
    if values["platform"] == Platform.EXTERNAL and is_unnamed:
        raise SourceRefused("name the parameter that holds the person's id")
    url = values.get("completion_url") or ""
    if url and not url.startswith("https://"):
        raise SourceRefused("the completion address begins with https://")


def _record(
    source: ArrivalSource, *, actor: Account, action: str, detail: Mapping[str, Any]
) -> None:
    audit.record(
        actor=actor, action=f"arrival_source.{action}", object_type="arrival_source",
        object_id=source.public_id, detail=detail,
    )  # fmt: skip
