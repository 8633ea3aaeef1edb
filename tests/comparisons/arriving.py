"""Sources of a campaign and people who came through them: what tests of arrival stand on."""

import base64
import hashlib
import hmac
import json
import time

from comparisons.models import Arrival, ArrivalSource, Assignment, Campaign, Crowdworker
from comparisons.services import arrival_visits

PERSON = "5f3ccanaryperson000000aa"
SUBMISSION = "60aacanarysubmission0001"
SECRET = "canary-webhook-secret"
SANDBOX = "https://workersandbox.mturk.com"


def make_source(campaign: Campaign, *, platform: str = "prolific", **values) -> ArrivalSource:
    usual = {
        "prolific": {"completion_code": "C0DE1", "external_study_id": ""},
        "mturk": {},
        "external": {"id_parameter": "id"},
    }[platform]
    values = {"label": "study", "pay_amount": "7.50", **usual, **values}
    return ArrivalSource.objects.create(campaign=campaign, platform=platform, **values)


def prolific(*, person: str = PERSON, study: str = "study1", submission: str = SUBMISSION):
    return {"PROLIFIC_PID": person, "STUDY_ID": study, "SESSION_ID": submission}


def mturk(*, person: str = "A3CANARYWORKER", assignment: str = "3ASSIGNMENT1", to: str = SANDBOX):
    return {
        "workerId": person, "hitId": "3HIT1", "assignmentId": assignment, "turkSubmitTo": to,
    }  # fmt: skip


def arrive(source: ArrivalSource, parameters: dict[str, str]) -> Assignment:
    return arrival_visits.arrive(source, arrival_visits.visit_of(source, parameters))


def arrived(campaign: Campaign, *, person: Crowdworker, **values) -> Arrival:
    """An arrival of somebody who is known already, work handed in."""
    assignment = Assignment.objects.create(
        crowdworker=person, campaign=campaign, state="submitted",
        external_study_id="study1", external_submission_id=SUBMISSION,
    )  # fmt: skip
    return Arrival.objects.create(source=make_source(campaign, **values), assignment=assignment)


def event(status: str, *, submission: str = SUBMISSION, number: int = 1, **changes):
    """A signed request of Prolific as (body, headers)."""
    fields = {
        "resource_id": submission, "event_type": "submission.status.change",
        "participant_id": PERSON, "status": status,
    }  # fmt: skip
    return signed(json.dumps(fields).encode(), number=number, **changes)


def signed(body: bytes, *, number: int = 1, **changes):
    """Any body, signed as Prolific does, as (body, headers)."""
    timestamp = changes.get("timestamp", str(int(time.time())))
    secret = changes.get("secret", SECRET)
    digest = hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).digest()
    headers = {
        "X-Prolific-Request-Timestamp": timestamp,
        "X-Prolific-Request-Signature": base64.b64encode(digest).decode(),
        "X-Event-ID": f"event-{number}",
    }
    return body, headers
