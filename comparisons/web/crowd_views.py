"""The crowdworker's pages around the conversation: start page, campaign home, instructions.

Knows requests and templates; what may happen is decided by the services.
"""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from comparisons.core.wording import changed_sections
from comparisons.models import (
    Account,
    ArrivalSource,
    Assignment,
    Campaign,
    Crowdworker,
    InstructionVersion,
    Payslip,
)
from comparisons.queries import pay, work
from comparisons.queries.arrivals import arrival_to_hand_in
from comparisons.queries.opinions import open_campaigns
from comparisons.queries.practice import closed_campaigns
from comparisons.services import (
    chat,
    leaving,
    onboarding,
    opinions,
    qualifying,
    replies,
    wellbeing,
)
from comparisons.services.drawing import current_instructions
from comparisons.web.access import NOT_YOURS, account_of, crowdworker_required
from comparisons.web.account_views import safe_next
from comparisons.web.context import language_words

CONSENT = Assignment.State.CONSENT
FINISHED = (Assignment.State.SUBMITTED, Assignment.State.ACCEPTED, Assignment.State.PAID)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The start page of each role."""
    account = account_of(request)
    if account.role == Account.Role.CROWDWORKER:
        return _work(request)
    return redirect(reverse("home") + ("manage/" if account.is_administrator else "lab/"))


@crowdworker_required
def _work(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    readable = [each.pk for each in open_campaigns(crowdworker)]
    context = {
        "cards": work.campaign_cards(crowdworker),
        "closed": closed_campaigns(crowdworker),
        "opinion_pay": pay.piece_pay(readable, Payslip.Kind.OPINIONS),
        "reply_pay": pay.piece_pay(readable, Payslip.Kind.REPLIES),
        "opinions_waiting": opinions.waiting_count(crowdworker),
        "replies_waiting": replies.waiting_count(crowdworker),
        "crowdworker": crowdworker,
    }
    return render(request, "comparisons/work.html", context)


def visible_campaign(crowdworker: Crowdworker, slug: str) -> Campaign:
    """A campaign of the person's pool that was ever live."""
    campaign = Campaign.objects.select_related("slot").filter(slug=slug).first()
    is_hidden = campaign is None or campaign.state == Campaign.State.DRAFT
    if campaign is None or is_hidden or not onboarding.may_see(crowdworker, campaign):
        raise Http404(NOT_YOURS)
    return campaign


@require_safe
@crowdworker_required
def campaign_home(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Progress and the one next thing to do."""
    campaign = visible_campaign(crowdworker, slug)
    assignment = onboarding.open_assignment_of(crowdworker, campaign)
    handed_in = None if assignment else arrival_to_hand_in(crowdworker, campaign)
    if handed_in is not None:
        return redirect("hand_in", handed_in.assignment.public_id)
    steps = work.steps(assignment) if assignment else []
    version = current_instructions(campaign)
    returned = _latest(crowdworker, campaign, Assignment.State.RETURNED)
    context = {
        "campaign": campaign,
        "assignment": assignment,
        "steps": steps,
        "done": sum(step.state == "finished" for step in steps),
        "now": next((step for step in steps if step.state in {"open", "not_started"}), None),
        "instructions": version,
        "has_consented": onboarding.has_consented(crowdworker, version),
        "needs_opt_in": campaign.is_red_team and not crowdworker.is_red_team_opted_in,
        "other_language": language_words(campaign),
        "practice": _practice(crowdworker, campaign),
        "others": work.open_campaigns(crowdworker).exclude(pk=campaign.pk),
        "is_given_back": returned is not None and work.is_overdue_return(returned),
        "finished": _latest(crowdworker, campaign, *FINISHED),
        "pay": assignment.pay_rule if assignment else work.pay_rule_of(campaign),
        "total": (
            assignment.conversations_required
            if assignment
            else campaign.conversations_per_assignment
        ),
        "crowdworker": crowdworker,
    }
    return render(request, "comparisons/campaign_home.html", context)


def _practice(crowdworker: Crowdworker, campaign: Campaign) -> qualifying.Progress | None:
    """The practice that still comes first; not for those who are in the middle of the work."""
    if not qualifying.comes_first(crowdworker, campaign):
        return None
    return qualifying.progress(crowdworker, campaign)


def _latest(crowdworker: Crowdworker, campaign: Campaign, *states: str) -> Assignment | None:
    """The latest assignment of the campaign where it stands like this."""
    latest = crowdworker.assignments.filter(campaign=campaign).order_by("-pk").first()
    return latest if latest is not None and latest.state in states else None


@require_POST
@crowdworker_required
def start(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Open the assignment and its conversation; instructions come first."""
    campaign = visible_campaign(crowdworker, slug)
    if campaign.is_red_team and not crowdworker.is_red_team_opted_in:
        return redirect("campaign_home", campaign.slug)
    try:
        assignment = onboarding.open_assignment(crowdworker, campaign)
        if assignment.state != CONSENT and qualifying.comes_first(crowdworker, campaign):
            return redirect("practice", campaign.slug)
        if assignment.state != Assignment.State.WORK:
            return redirect("instructions", campaign.slug)
        conversation = chat.start_conversation(assignment)
    except (onboarding.OnboardingRefused, chat.ChatRefused) as error:
        messages.error(request, str(error))
        return redirect("campaign_home", campaign.slug)
    return redirect("conversation", conversation.public_id)


@require_safe
@crowdworker_required
def instructions(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """The whole text; with a tick and [Start] while it is not accepted."""
    campaign = visible_campaign(crowdworker, slug)
    version = current_instructions(campaign)
    context = {
        "campaign": campaign,
        "instructions": version,
        "has_consented": onboarding.has_consented(crowdworker, version),
        "changed": _changed_since(crowdworker, version),
    }
    return render(request, "comparisons/instructions.html", context)


def _changed_since(crowdworker: Crowdworker, version: InstructionVersion | None) -> list[str]:
    """Headings of what is new since the wording that the person accepted last."""
    if version is None:
        return []
    read = crowdworker.consents.filter(instruction_version__campaign=version.campaign_id)
    last = read.select_related("instruction_version").order_by("-pk").first()
    if last is None or last.instruction_version == version:
        return []
    return changed_sections(before=last.instruction_version.body, after=version.body)


@require_POST
@crowdworker_required
def consent(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Record that the current wording was read and accepted, then go on."""
    campaign = visible_campaign(crowdworker, slug)
    version = current_instructions(campaign)
    target = safe_next(request, request.POST.get("next", ""))
    is_current = version is not None and request.POST.get("version") == str(version.version)
    if version is None or not is_current or not request.POST.get("has_read"):
        messages.error(request, _("Tick that you have read the instructions, then go on."))
        return redirect("instructions", campaign.slug)
    onboarding.give_consent(crowdworker, version)
    if request.POST.get("then") == "start":
        return start(request, slug=slug)
    return redirect(target)


@require_POST
@crowdworker_required
def opt_in(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Take red-team work on, knowing the warning."""
    campaign = visible_campaign(crowdworker, slug)
    if not request.POST.get("has_read"):
        messages.error(request, _("Tick that you have read the warning."))
        return redirect("campaign_home", campaign.slug)
    wellbeing.opt_in(
        crowdworker,
        comfort=request.POST.get("comfort", ""),
        cover=request.POST.get("cover", ""),
    )
    return redirect("campaign_home", campaign.slug)


@require_POST
@crowdworker_required
def leave(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Leave red-team work: what was done is handed in, helpful work is offered."""
    campaign = visible_campaign(crowdworker, slug)
    if leaving.leave_red_team(crowdworker):
        messages.success(request, _("You left red-team work. What you did is saved and paid."))
    else:
        words = _(
            "You left red-team work. No choice was made this time, so nothing is counted; "
            "what you finished before is saved and paid."
        )
        messages.success(request, words)
    if crowdworker.platform in ArrivalSource.Platform:  # other work has to be taken on there
        return redirect("campaign_home", campaign.slug)
    helpful: Any = work.helpful_alternatives(crowdworker, besides=campaign).first()
    return redirect("campaign_home", helpful.slug) if helpful else redirect("home")
