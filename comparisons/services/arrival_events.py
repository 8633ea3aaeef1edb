"""What Prolific tells by itself: signed events, each heeded once, that move assignments on.

Knows signatures, statuses and submission ids; the participant's id in an event is never kept.
"""

import hmac
import json
from base64 import b64encode
from hashlib import sha256

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from comparisons.formats.pairs import LineError, checked_text
from comparisons.models import Arrival, ArrivalSource, Assignment, PlatformEvent
from comparisons.services import assignment_ends
from comparisons.services.assignment_states import move, overturn_rejection

PROLIFIC = ArrivalSource.Platform.PROLIFIC
MOST_SECONDS_OLD = 600
SUBMISSION_CHANGED = "submission.status.change"
DECIDED = ("APPROVED", "REJECTED")
ENDED = ("RETURNED", "TIMED OUT", "SCREENED OUT")


class EventRefused(ValueError):
    """The event is not from the platform, or cannot be read."""


def check_signature(*, body: bytes, timestamp: str, signature: str) -> None:
    """Prolific's scheme: base64 of HMAC-SHA256 over the timestamp followed by the body.

    Every secret of the deployment may have signed, so that one can be replaced by the next.
    """
    if not timestamp.isascii() or not timestamp.isdigit():
        raise EventRefused("the event has no timestamp")
    if abs(timezone.now().timestamp() - int(timestamp[:15])) > MOST_SECONDS_OLD:
        raise EventRefused("the event is older than ten minutes, or from the future")
    for secret in settings.PROLIFIC_WEBHOOK_SECRETS:
        digest = hmac.new(secret.encode(), timestamp.encode() + body, sha256).digest()
        if hmac.compare_digest(b64encode(digest), signature.encode()):
            return
    raise EventRefused("the event is not signed with a secret of ours")


def take_event(*, body: bytes, event_id: str) -> bool:
    """Heed one event of Prolific; False when it was heeded before."""
    kind, status, submission_id = _read(body)
    if not event_id or len(event_id) > 80:
        raise EventRefused("the event has no id")
    status = status.upper().replace("_", " ").replace("-", " ")[:24]
    arrival = _arrival(submission_id) if kind == SUBMISSION_CHANGED else None
    try:
        with transaction.atomic():
            PlatformEvent.objects.create(
                platform=PROLIFIC,
                event_id=event_id,
                event_type=kind,
                status=status,
                assignment=arrival.assignment if arrival else None,
            )
            if arrival is not None:
                _heed(arrival, status=status)
    except IntegrityError:
        if PlatformEvent.objects.filter(platform=PROLIFIC, event_id=event_id).exists():
            return False
        raise
    return True


def _read(body: bytes) -> tuple[str, str, str]:
    """Type, status and submission of an event, as texts that every database stores."""
    try:
        event = json.loads(body)
        said = (event["event_type"], event.get("status", ""), event["resource_id"])
        kind, status, submission_id = (
            checked_text(str(each), where=name)
            for each, name in zip(said, ("event_type", "status", "resource_id"), strict=True)
        )
    except LineError as error:
        raise EventRefused(f"the event cannot be stored: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EventRefused(
            "the event is not a JSON object with event_type and resource_id"
        ) from error
    return kind[:60], status, submission_id[:80]


def _arrival(submission_id: str) -> Arrival | None:
    rows = Arrival.objects.select_related("assignment__crowdworker__account")
    return rows.filter(
        source__platform=PROLIFIC, assignment__external_submission_id=submission_id
    ).first()


def _heed(arrival: Arrival, *, status: str) -> None:
    """Events come in any order: after a decision only its overturning counts, and only a legal step is taken."""
    heard = Arrival.objects.filter(pk=arrival.pk)
    if status != "APPROVED":  # it overturns a rejection and is final: paid there
        heard = heard.exclude(platform_status__in=DECIDED)
    if heard.update(platform_status=status) != 1:
        return
    assignment, reason = arrival.assignment, f"Prolific: {status.lower()}"
    if status in ENDED:
        assignment_ends.give_back(assignment, reason=reason)
    elif status == "APPROVED":
        overturn_rejection(assignment, reason=reason)
        move(assignment, to=Assignment.State.ACCEPTED, reason=reason)
        move(assignment, to=Assignment.State.PAID, reason=reason)
    elif status == "REJECTED":  # also in the midst of it; what was finished is not paid either
        assignment_ends.give_back(assignment, reason=reason)
        move(assignment, to=Assignment.State.RETURNED, reason=reason)
