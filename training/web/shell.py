"""The lab's left rail, the same on each of its pages.

Knows addresses only.
"""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _


def lab(request: HttpRequest, **context: Any) -> dict[str, Any]:
    """A page's context with the rail added."""
    places = [
        (_("Runs"), reverse("lab_runs")),
        (_("Iterations"), reverse("lab_iterations")),
        (_("Checkpoints"), reverse("lab_checkpoints")),
        (_("Slots"), reverse("lab_slots")),
        (_("Leaderboard"), reverse("leaderboard")),
        (_("Model servers"), reverse("lab_servers")),
    ]
    items = [
        {"label": label, "url": url, "is_current": request.path.startswith(url)}
        for label, url in places
    ]
    return {"rail_label": _("Lab"), "rail_items": items, **context}
