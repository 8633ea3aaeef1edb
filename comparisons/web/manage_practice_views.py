"""A campaign's practice comparisons: enter them, paste them as lines, publish, switch off.

Knows forms; versions and what may be published are the service's.
"""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from comparisons.models import Campaign, Qualification, QualificationItem
from comparisons.services import qualification_publishing as publishing
from comparisons.services.qualification_publishing import Item, QualificationRefused
from comparisons.services.qualifying import standing
from comparisons.web.access import account_of, administrator_required
from comparisons.web.manage_forms import PlainLabels
from comparisons.web.manage_page import manage_page

BLANK_ROWS = 3


class SetForm(PlainLabels, forms.Form):
    """What holds for the whole set."""

    pass_mark = forms.IntegerField(
        label="Right answers needed", min_value=1, max_value=publishing.MOST_ITEMS, initial=2
    )
    attempts = forms.IntegerField(
        label="Times a person may try", min_value=1, max_value=publishing.MOST_ATTEMPTS, initial=2
    )
    lines = forms.CharField(
        label="Or paste items, one JSON object a line",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="prompt, response_a, response_b, known_side (A or B), why with {right} and {other} "
        "for the letters. Pasted items take the place of those below.",
    )
    based_on = forms.IntegerField(widget=forms.HiddenInput)


class ItemForm(PlainLabels, forms.Form):
    """One practice comparison; a row left empty is no item."""

    prompt = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    response_a = forms.CharField(
        label="Response A", required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    response_b = forms.CharField(
        label="Response B", required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    known_side = forms.ChoiceField(
        label="The one to pick", choices=QualificationItem.Side.choices, initial="A"
    )
    why = forms.CharField(
        label="Why, as people read it afterwards",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Markdown. Do not write A or B: sides differ per person. "
        "{right} and {other} become the letters.",
    )

    def is_empty(self) -> bool:
        """Nothing was typed into the row."""
        return not any(self.cleaned_data.get(name, "").strip() for name in publishing.TEXTS)


ItemForms = forms.formset_factory(ItemForm, extra=BLANK_ROWS, max_num=publishing.MOST_ITEMS)


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def practice(request: HttpRequest, slug: str) -> HttpResponse:
    """The standing set, or a new one."""
    campaign = get_object_or_404(Campaign, slug=slug)
    current = standing(campaign)
    newest = campaign.qualifications.first()
    initial = {
        "pass_mark": current.pass_mark if current else 2,
        "attempts": current.attempts if current else 2,
        "based_on": newest.version if newest else 0,
    }
    rows = list(current.items.values(*publishing.FIELDS)) if current else []
    form = SetForm(request.POST or None, initial=initial)
    items = ItemForms(request.POST or None, initial=rows, prefix="item")
    if request.method == "POST" and form.is_valid() and items.is_valid():
        try:
            published = _publish(request, campaign, form.cleaned_data, items)
        except QualificationRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, f"Practice version {published.version} is published.")
            return redirect("manage_practice", slug=slug)
    context = {
        "campaign": campaign,
        "form": form,
        "items": items,
        "current": current,
        "outcomes": publishing.outcomes(current) if current else None,
    }
    return manage_page(request, "practice.html", place="manage_campaigns", context=context)


def _publish(
    request: HttpRequest, campaign: Campaign, sent: dict[str, Any], items: Any
) -> Qualification:
    """From the pasted lines when there are some, otherwise from the rows that were filled in."""
    entered = [Item(**each.cleaned_data) for each in items if not each.is_empty()]
    return publishing.publish(
        campaign,
        items=publishing.items_from_lines(sent["lines"]) if sent["lines"].strip() else entered,
        pass_mark=sent["pass_mark"],
        attempts=sent["attempts"],
        based_on=sent["based_on"],
        actor=account_of(request),
    )


@require_POST
@administrator_required
def practice_off(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask for no practice any more."""
    campaign = get_object_or_404(Campaign, slug=slug)
    if publishing.switch_off(campaign, actor=account_of(request)):
        messages.success(request, "New people start without practice now.")
    return redirect("manage_practice", slug=slug)
