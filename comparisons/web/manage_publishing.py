"""The list of what a changed campaign would mean: each change as old and new, and from when it holds for people at work.

Knows fields and words; what is stored, and when, is the services'.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms

from comparisons.models import Campaign
from comparisons.web.manage_forms import CampaignForm

EFFECTS = {
    "title": "from the next page that they open",
    "slot": "from the next message on",
    "pairing_rule": "from the next message on",
    "tranche": "from the next choice on",
    "language": "from the next page that they open",
    "pool": "from the next message on; people of another pool cannot go on",
    "conversations_per_assignment": "from the next assignment on; what is begun keeps its number",
    "turns_suggested": "from the next turn on",
    "max_message_characters": "from the next message on",
    "lease_minutes": "from the next message or choice on",
    "undo_seconds": "at once, for choices already made too",
    "allows_regenerate": "at once, within a turn too",
    "allows_edit": "at once, within a turn too",
    "allows_write": "at once, within a turn too",
    "second_opinion_percent": "from the next choice on",
    "human_reply_percent": "from the next choice on",
    "comparisons_wanted": "nothing: it is for staff alone",
    "red_team_daily_cap": "from the next message on; what they read today counts",
    "pay_amount": "from the next assignment on; what is begun is paid as promised",
    "pay_currency": "from the next assignment on; what is done or begun is paid as promised",
    "pay_per": "from the next assignment on; what is begun is paid as promised",
    "opinion_pay": "from the next second opinion on; what is done is paid as promised",
    "reply_pay": "from the next written reply on; what is done is paid as promised",
}
EMPTY = {"pool": "every pool", "comparisons_wanted": "no end"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field that would change, in people's words."""

    label: str
    old: str
    new: str
    effect: str  # for people at work now


def listed(campaign: Campaign, *, fields: Iterable[str], form: CampaignForm) -> list[Change]:
    """The changes from a campaign as it is to what was typed into a valid form, in the form's order."""
    changing = set(fields)
    return [
        Change(
            label=str(form[name].label),
            old=_in_words(getattr(campaign, name), name=name, field=field),
            new=_in_words(form.cleaned_data[name], name=name, field=field),
            effect=EFFECTS[name],
        )
        for name, field in form.fields.items()
        if name in changing
    ]


def _in_words(value: Any, *, name: str, field: forms.Field) -> str:
    if value in ("", None):
        return EMPTY.get(name, "nothing")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:,.{getattr(field, 'decimal_places', None) or 0}f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(field, forms.ModelChoiceField):
        return str(value)
    labels = dict(getattr(field.widget, "choices", ()))
    return str(labels.get(value, value))
