"""The way back to the platform once the work is handed in: a link, a form, or a code to copy.

Knows each platform's last step; does not send anybody there.
"""

from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.utils.crypto import salted_hmac

from comparisons.models import Arrival, ArrivalSource
from comparisons.services.arrival_visits import SUBMIT_PATH

PROLIFIC_COMPLETE = "https://app.prolific.com/submissions/complete"


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """What the last page offers."""

    platform: str
    code: str = ""
    url: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def way_back(arrival: Arrival) -> WayBack:
    """The last step on the platform of this arrival."""
    source, assignment = arrival.source, arrival.assignment
    if source.platform == ArrivalSource.Platform.MTURK:
        fields = {
            "assignmentId": assignment.external_submission_id,
            "receipt": str(assignment.public_id),  # the form needs one field of ours
        }
        url = f"{arrival.submit_to}{SUBMIT_PATH}"
        return WayBack(platform=source.platform, url=url, fields=fields)
    code = code_of(arrival)
    if source.platform == ArrivalSource.Platform.PROLIFIC:
        url = f"{PROLIFIC_COMPLETE}?{urlencode({'cc': code})}"
    else:
        url = source.completion_url.replace("{code}", code)
    return WayBack(platform=source.platform, code=code, url=url)


def code_of(arrival: Arrival) -> str:
    """The source's completion code; where it has none, one of this assignment alone."""
    if arrival.source.completion_code:
        return arrival.source.completion_code
    text = str(arrival.assignment.public_id)
    digest = salted_hmac("comparisons.completion_code", text, algorithm="sha256").hexdigest()
    return digest[:10].upper()
