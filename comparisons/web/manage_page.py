"""The frame of the administrators' pages: the rail on the left, and which place is current.

Knows addresses and roles; knows nothing of what a page shows.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from comparisons.web.access import account_of

PLACES = (  # address, label, open to researchers
    ("manage_dashboard", "Dashboard", False),
    ("manage_campaigns", "Campaigns", False),
    ("manage_crowd", "Crowd", False),
    ("manage_quality", "Quality", False),
    ("manage_releases", "Releases", True),
    ("manage_imports", "Imports", True),
    ("manage_api", "API", True),
)


class Unseen(ValueError):
    """A decision came without the page on which it was made."""


def seen_until(request: HttpRequest) -> datetime:
    """When the page was made whose form this is: what came later was not seen."""
    try:
        made_at = parse_datetime(request.POST.get("made_at", ""))
        if made_at is not None and made_at.tzinfo is not None:
            return min(made_at.astimezone(UTC), timezone.now())
    except (ValueError, OverflowError):  # no such day, or none in UTC
        pass
    raise Unseen("Look again, then decide: the page did not say when it was made.")


def is_sent_again(request: HttpRequest, *, what: str) -> bool:
    """The form of this very page came before: the page was loaded again, nothing more is wanted.

    The key of the page is kept instead of what was made, which is a secret and shown once.
    """
    key = request.POST.get("page_key", "")
    if key and request.session.get(f"made_{what}") == key:
        return True
    request.session[f"made_{what}"] = key
    return False


def manage_page(
    request: HttpRequest,
    template: str,
    *,
    place: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """Render a page in the frame, `place` marked as current."""
    is_administrator = account_of(request).is_administrator
    frame = {
        "page_key": uuid.uuid4(),
        "rail_label": "Manage",
        "rail_items": [
            {"label": label, "url": reverse(name), "is_current": name == place}
            for name, label, is_open in PLACES
            if is_administrator or is_open
        ],
    }
    return render(request, f"comparisons/manage/{template}", {**frame, **context}, status=status)
