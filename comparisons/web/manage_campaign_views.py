"""Campaigns: list, make from a preset, change, publish instructions, open and pause.

Each view reads through querysets or calls one service.
"""

from collections.abc import Iterable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from comparisons.models import Campaign
from comparisons.queries.arrivals import source_rows
from comparisons.queries.dashboard import campaigns_today, comparisons_made
from comparisons.queries.pace import people_at_work, shares_of
from comparisons.services import campaigns
from comparisons.services.qualifying import standing
from comparisons.web.access import account_of, administrator_required
from comparisons.web.manage_forms import CampaignForm, InstructionsForm, NewCampaignForm
from comparisons.web.manage_page import manage_page
from comparisons.web.manage_publishing import listed
from modelserving.models import SlotDeployment


@require_safe
@administrator_required
def campaign_list(request: HttpRequest) -> HttpResponse:
    """All campaigns with their state and counts."""
    counts = {row.campaign.pk: row for row in campaigns_today()}
    rows = [
        (campaign, counts.get(campaign.pk))
        for campaign in Campaign.objects.select_related("slot").order_by("pk")
    ]
    return manage_page(
        request, "campaigns.html", place="manage_campaigns", context={"campaigns": rows}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def campaign_new(request: HttpRequest) -> HttpResponse:
    """A draft from a preset."""
    form = NewCampaignForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data
        try:
            campaign = campaigns.create_campaign(
                chosen["preset"], title=chosen["title"], slug=chosen["slug"], slot=chosen["slot"],
                actor=account_of(request),
            )  # fmt: skip
        except campaigns.CampaignRefused as refusal:
            form.add_error("slug", str(refusal))
        else:
            messages.success(request, f"{campaign.title} is a draft. Open it when it is ready.")
            return redirect("manage_campaign", slug=campaign.slug)
    return manage_page(
        request, "campaign_new.html", place="manage_campaigns", context={"form": form}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def campaign_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """One campaign: its rules, what its slot serves, its instructions, its state."""
    campaign = get_object_or_404(Campaign.objects.select_related("slot"), slug=slug)
    newest = campaigns.newest_change(campaign)  # before the row that is shown, which so has it
    typed = get_object_or_404(Campaign, slug=slug)  # the form writes what was typed into this one
    form = CampaignForm(request.POST or None, instance=typed, initial={"based_on": newest})
    conflict = ""
    if request.method == "POST" and "edit" not in request.POST and form.is_valid():
        try:
            return _saved(request, campaign, form)
        except campaigns.BothChanged as refusal:
            conflict, form = str(refusal), _merged(form)
    form.say_beside(shares_of(campaign))
    context = {"form": form, "conflict": conflict, "is_sent": request.method == "POST"}
    context |= _campaign_context(campaign)
    return manage_page(
        request, "campaign.html", place="manage_campaigns", context=context,
        status=409 if conflict else 200,
    )  # fmt: skip


def _saved(request: HttpRequest, campaign: Campaign, form: CampaignForm) -> HttpResponse:
    """Store what was typed; of a live campaign, once its changes were seen as a list."""
    chosen, based_on = form.chosen(), form.cleaned_data["based_on"] or 0
    if campaign.state == Campaign.State.LIVE and "publish" not in request.POST:
        changed = campaigns.planned_change(campaign, changes=chosen, based_on=based_on)
        if changed.fields:
            return _changes_page(request, campaign, form=form, changed=changed)
    else:
        changed = campaigns.change_campaign(
            campaign, changes=chosen, actor=account_of(request), based_on=based_on
        )
    said = " ".join([_said(changed, form), *_kept_said(changed, form)])
    messages.success(request, said, extra_tags="stored")  # then the page's script drops the draft
    return redirect("manage_campaign", slug=campaign.slug)


def _changes_page(
    request: HttpRequest, campaign: Campaign, *, form: CampaignForm, changed: campaigns.Changed
) -> HttpResponse:
    """Every change as old and new; the fields go along as they were typed, nothing is stored."""
    context = {
        "campaign": campaign,
        "changes": listed(campaign, fields=changed.fields, form=form),
        "kept": _kept_said(changed, form),
        "people": people_at_work(campaign),
        "sent": [(name, each) for name in form.fields for each in request.POST.getlist(name)],
    }
    return manage_page(request, "campaign_changes.html", place="manage_campaigns", context=context)


def _merged(form: CampaignForm) -> CampaignForm:
    """The form as it would be made now, with what was typed in it: its next save is based on all changes."""
    newest, based_on = campaigns.newest_change(form.instance), form.cleaned_data["based_on"] or 0
    campaign = Campaign.objects.get(slug=form.instance.slug)
    others = campaigns.changed_meanwhile(campaign, based_on=based_on)
    typed = {
        field: value
        for field, value in form.chosen().items()
        if field not in others or str(value) != others[field].was
    }
    return CampaignForm(instance=campaign, initial={**typed, "based_on": newest})


def _said(changed: campaigns.Changed, form: CampaignForm) -> str:
    return f"Saved: {_labels(changed.fields, form)}." if changed.fields else "Nothing changed."


def _kept_said(changed: campaigns.Changed, form: CampaignForm) -> list[str]:
    said = []
    for name in sorted({each.by for each in changed.kept}):
        kept = [each.field for each in changed.kept if each.by == name]
        said.append(f"Kept as {name} changed it meanwhile: {_labels(kept, form)}.")
    return said


def _labels(fields: Iterable[str], form: CampaignForm) -> str:
    """What the fields are called on the page; some names have commas of their own."""
    return "; ".join(str(form[name].label) for name in fields)


def _campaign_context(campaign: Campaign) -> dict[str, object]:
    newest = campaign.instruction_versions.select_related("published_by").first()
    places = campaign.slot.places.select_related("deployment").exclude(
        role=SlotDeployment.Role.RETIRED
    )
    return {
        "campaign": campaign,
        "made": comparisons_made(campaign),
        "places": places,
        "instructions": newest,
        "versions": campaign.instruction_versions.count(),
        "arrivals": source_rows(campaign),
        "practice": standing(campaign),
        "missing": campaigns.missing_to_open(campaign),
        "next_states": [
            {"value": state.value, "label": VERBS[state]}
            for state in campaigns.NEXT_STATES[Campaign.State(campaign.state)]
        ],
    }


VERBS = {
    Campaign.State.LIVE: "Open",
    Campaign.State.PAUSED: "Pause",
    Campaign.State.ENDED: "End",
}


@require_POST
@administrator_required
def campaign_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Open, pause or end."""
    campaign = get_object_or_404(Campaign.objects.select_related("slot"), slug=slug)
    state = request.POST.get("state", "")
    if state not in Campaign.State.values:
        messages.error(request, "That is not a state of a campaign.")
        return redirect("manage_campaign", slug=slug)
    try:
        campaigns.set_state(campaign, state=state, actor=account_of(request))
    except campaigns.CampaignRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{campaign.title} is {Campaign.State(state).label} now.")
    return redirect("manage_campaign", slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def instructions(request: HttpRequest, slug: str) -> HttpResponse:
    """Publish a new version of the wording."""
    campaign = get_object_or_404(Campaign, slug=slug)
    newest = campaign.instruction_versions.first()
    initial = {
        "summary": newest.summary if newest else "",
        "body": newest.body if newest else "",
        "consent": newest.consent if newest else "",
        "based_on": newest.version if newest else 0,
    }
    form = InstructionsForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            version = campaigns.publish_instructions(
                campaign, **form.cleaned_data, actor=account_of(request)
            )
        except campaigns.CampaignChanged as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, f"Version {version.version} is published.")
            return redirect("manage_campaign", slug=slug)
    context = {"campaign": campaign, "form": form, "newest": newest}
    return manage_page(request, "instructions.html", place="manage_campaigns", context=context)
