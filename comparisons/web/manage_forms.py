"""Forms of the administrators' pages: what may be typed, and the words when it may not.

Knows fields only; what a form does is a service's.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.conf import global_settings
from django.utils.text import slugify

from comparisons.models import ApiToken, Campaign
from comparisons.models.campaign import Objective, Tranche
from comparisons.queries.imports import sources_by_label
from comparisons.queries.releases import ReleaseFilters
from comparisons.services.campaigns import CHANGEABLE, PRESETS
from modelserving.models import Slot

CAMPAIGN_SECTIONS = {
    "Basics": ("title", "language", "pool", "comparisons_wanted"),
    "Pairing": ("slot", "pairing_rule", "tranche"),
    "Turns and quotas": (
        "conversations_per_assignment", "turns_suggested", "max_message_characters",
        "lease_minutes", "undo_seconds", "allows_regenerate", "allows_edit", "allows_write",
    ),
    "Quality": ("second_opinion_percent", "human_reply_percent"),
    "Wellbeing": ("red_team_daily_cap",),
    "Pay": ("pay_amount", "pay_currency", "pay_per", "opinion_pay", "reply_pay"),
}  # fmt: skip


class PlainLabels(forms.BaseForm):
    """Labels without a colon: they stand above their field."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Fields of a long form that are looked at together."""

    label: str
    fields: tuple[forms.BoundField, ...]
    changed: frozenset[str] = frozenset()  # fields that were sent otherwise than they are saved

    @property
    def saved(self) -> str:
        """What is saved in the changed fields, as the page's fields say it; JSON for its script."""
        changed = [field for field in self.fields if field.name in self.changed]
        return json.dumps({field.name: _as_typed(field) for field in changed})

    @property
    def name(self) -> str:
        """For addresses within the page."""
        return slugify(self.label)

    @property
    def problems(self) -> int:
        """How many of its fields are refused."""
        return sum(bool(field.errors) for field in self.fields)


def _as_typed(field: forms.BoundField) -> str | bool:
    value = field.field.prepare_value(field.initial)
    if isinstance(value, bool):
        return value
    return "" if value is None else str(value)


class NewCampaignForm(PlainLabels, forms.Form):
    """What a new campaign starts from."""

    preset = forms.ChoiceField(
        label="Start from",
        choices=[(preset.name, preset.label) for preset in PRESETS.values()],
        widget=forms.RadioSelect,
        initial="helpful",
    )
    title = forms.CharField(max_length=120, help_text="Crowdworkers read it.")
    slug = forms.RegexField(
        r"\A[a-z0-9-]+\Z",
        label="Short name",
        max_length=60,
        help_text="For the address: a-z, 0-9, dash.",
        error_messages={"invalid": "Write a short name of a-z, 0-9 and dashes alone."},
    )
    slot = forms.ModelChoiceField(
        queryset=Slot.objects.order_by("name"),
        help_text="Which deployments it draws responses from.",
        empty_label=None,
    )


class CampaignForm(PlainLabels, forms.ModelForm):
    """What may change while a campaign runs."""

    based_on = forms.IntegerField(  # the newest change the page knew; without it: none
        widget=forms.HiddenInput, required=False, min_value=0, max_value=2**63 - 1
    )

    class Meta:
        model = Campaign
        fields = CHANGEABLE
        labels = {
            "pairing_rule": "Pairing",
            "conversations_per_assignment": "Conversations per assignment",
            "turns_suggested": "Turns suggested",
            "max_message_characters": "Longest message, characters",
            "lease_minutes": "Lease of an assignment, minutes",
            "undo_seconds": "A choice can be undone for, seconds",
            "allows_regenerate": "People may ask for two new responses",
            "allows_edit": "People may edit a response",
            "allows_write": "People may write a response themselves",
            "second_opinion_percent": "Second opinions, %",
            "human_reply_percent": "Replies written by people, %",
            "comparisons_wanted": "Comparisons wanted",
            "red_team_daily_cap": "Red team: responses per person and day",
            "pay_amount": "Pay",
            "pay_currency": "Currency",
            "pay_per": "Paid per",
            "opinion_pay": "Pay for a second opinion",
            "reply_pay": "Pay for a written reply",
        }
        help_texts = {
            "pool": "Empty: open to every pool.",
            "comparisons_wanted": "Empty: no end. The dashboard says when it is reached; "
            "the campaign goes on until you pause or end it.",
            "second_opinion_percent": "Share of turns that a second person judges too.",
            "opinion_pay": "For each. What was done before a change is paid as it stood then.",
            "human_reply_percent": "Share of turns for which somebody writes the ideal reply, "
            "compared afterwards with the model's.",
            "language": "Of the texts. People choose the language of the pages themselves.",
        }
        widgets = {
            "pay_per": forms.Select(choices=[("assignment", "assignment"), ("hour", "hour")]),
            "language": forms.Select(choices=global_settings.LANGUAGES),
        }

    def sections(self) -> Iterator[Section]:
        """All fields but the hidden one, in the order of the page."""
        changed = frozenset(self.changed_data) if self.is_bound else frozenset()
        for label, names in CAMPAIGN_SECTIONS.items():
            fields = tuple(self[name] for name in names)
            yield Section(label=label, fields=fields, changed=changed & set(names))

    def say_beside(self, words: Mapping[str, str]) -> None:
        """Put what a field comes to into its help."""
        for name, said in words.items():
            field = self.fields[name]
            field.help_text = f"{field.help_text} {said}".strip()

    def chosen(self) -> dict[str, Any]:
        """What was typed, without what the page was based on."""
        return {name: self.cleaned_data[name] for name in CHANGEABLE}


class InstructionsForm(PlainLabels, forms.Form):
    """A new wording; nothing published is ever edited."""

    summary = forms.CharField(
        label="In short",
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Markdown. Stands beside the conversation.",
    )
    body = forms.CharField(
        label="In full", widget=forms.Textarea(attrs={"rows": 16}), help_text="Markdown."
    )
    consent = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="Markdown. Everyone agrees to it again before their next conversation.",
    )
    based_on = forms.IntegerField(widget=forms.HiddenInput)


class ReleaseForm(PlainLabels, forms.Form):
    """What a release takes in, and how it is split."""

    name = forms.CharField(
        max_length=64, help_text="a-z, 0-9, dot, dash, underscore. It cannot be changed afterwards."
    )
    test_percent = forms.IntegerField(
        label="Test share, %",
        min_value=0,
        max_value=90,
        help_text="By first human message. Keep the share of earlier releases: "
        "then nothing moves between train and test.",
    )
    objectives = forms.MultipleChoiceField(
        choices=Objective.choices, required=False, widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: all.",
    )  # fmt: skip
    tranches = forms.MultipleChoiceField(
        choices=Tranche.choices, required=False, widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: all.",
    )  # fmt: skip
    has_simulated = forms.BooleanField(label="Let simulated comparisons in", required=False)
    without_sources = forms.MultipleChoiceField(
        label="Leave out imports", required=False,
        widget=forms.CheckboxSelectMultiple, help_text="None ticked: all are in.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sources, fields = sources_by_label(), cast("dict[str, Any]", self.fields)
        fields["without_sources"].choices = sources
        if not sources:
            del fields["without_sources"]

    def filters(self) -> ReleaseFilters:
        """The filters chosen so far, also while the rest of the form is not filled in."""
        self.is_valid()
        chosen = self.cleaned_data
        return ReleaseFilters(
            objectives=tuple(chosen.get("objectives", ())),
            tranches=tuple(chosen.get("tranches", ())),
            has_simulated=chosen.get("has_simulated", False),
            without_sources=tuple(chosen.get("without_sources", ())),
        )


class InvitationForm(PlainLabels, forms.Form):
    """Whom a code lets in."""

    label = forms.CharField(max_length=80, help_text="For you: who it is for.")
    pool = forms.CharField(max_length=40, initial="general")
    uses = forms.IntegerField(min_value=1, max_value=10_000, initial=1)
    days = forms.IntegerField(
        label="Works for, days", min_value=1, max_value=365, initial=30, required=False
    )


class OutcomeForm(PlainLabels, forms.Form):
    """What is done about a person."""

    outcome = forms.ChoiceField(
        choices=[
            ("no_problem", "No problem"),
            ("ask", "Ask"),
            ("set_aside", "Set aside"),
            ("suspend", "Suspend"),
            ("take_back", "Let the choices count again"),
            ("activate", "Let the person work again"),
        ]
    )
    reason = forms.CharField(max_length=200, required=False)


class FlagForm(PlainLabels, forms.Form):
    """What becomes of a flagged turn."""

    outcome = forms.ChoiceField(
        choices=[("keep", "Looked at, keep"), ("set_aside", "Leave out of releases")]
    )
    reason = forms.CharField(max_length=200, required=False)


class TokenForm(PlainLabels, forms.Form):
    """A new token of the REST API."""

    name = forms.CharField(max_length=80, help_text="For you: which program uses it.")
    scope = forms.ChoiceField(choices=ApiToken.Scope.choices)
    days = forms.IntegerField(
        label="Works for, days", min_value=1, max_value=3650, initial=90, required=False
    )
