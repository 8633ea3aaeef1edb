"""A campaign's conversation page as its people see it, for administrators, with nothing stored.

Knows the page's parts and sample texts; no conversation, turn or response of it is a row.
"""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from comparisons.models import Account, Campaign, Conversation
from comparisons.queries.transcripts import SideView, TurnView
from comparisons.services import preferences
from comparisons.services.drawing import current_instructions
from comparisons.web.access import account_of, administrator_required
from comparisons.web.stage import flag_words, key_rows, strip_words
from comparisons.web.words import script_words

MESSAGE = "A message, as a person at work would write it."
RESPONSES = {
    "A": "Response A stands here. The deployments of the campaign's slot write the real ones.",
    "B": "Response B stands here.\n\nIt is a little longer, with\n\n- a list\n- of two points.",
}


@require_safe
@administrator_required
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The first turn with both responses complete, under the campaign's stored rules."""
    campaign = get_object_or_404(Campaign.objects.select_related("slot"), slug=slug)
    own = Conversation(campaign=campaign, objective=campaign.objective, position=1)
    context = {**_stage(own, campaign), **_around(campaign, account_of(request))}
    return render(request, "comparisons/manage/preview.html", context)


def _stage(own: Conversation, campaign: Campaign) -> dict[str, Any]:
    turn = _turn(is_covered=campaign.is_red_team)
    return {
        "conversation": own,
        "campaign": campaign,
        "turns": [(turn, "")],
        "last": turn,
        "dock": "strip",
        "turn_number": 1,
        "turn_count": 1,
        "chosen_count": 0,
        **strip_words(campaign),
    }


def _turn(*, is_covered: bool) -> TurnView:
    sides = tuple(
        SideView(
            letter=letter, state="ready", text=text, sha256="", is_stopped=False, is_cut=False,
            can_retry=False, is_picked=False,
        )
        for letter, text in RESPONSES.items()
    )  # fmt: skip
    return TurnView(
        public_id=uuid.uuid4(), number=1, message=MESSAGE, state="ready", is_held_back=False,
        is_covered=is_covered, is_last=True, can_undo=False, regenerations=0, sides=sides,
        picked_side="", picked_strength=0, version="",
    )  # fmt: skip


def _around(campaign: Campaign, account: Account) -> dict[str, Any]:
    total = campaign.conversations_per_assignment
    keys = preferences.keys_of(account)
    return {
        "nav": [],
        "is_staff_page": False,  # it looks as it does to the crowd
        "is_staff": False,
        "instructions": current_instructions(campaign),
        "has_consented": True,
        "total": total,
        "steps": [{"is_done": False, "is_now": number == 1} for number in range(1, total + 1)],
        "next_number": 2,
        "flag_kinds": flag_words(),
        "keys": keys,
        "key_rows": key_rows(keys),
        "words": script_words(),
        "has_single_keys": account.has_single_keys,
        "is_red_team": campaign.is_red_team,
    }
