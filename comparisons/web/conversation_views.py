"""The conversation page and what is said on it.

Knows requests and forms; the dialogue itself is kept by the chat service.
"""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from comparisons.models import Conversation, Crowdworker
from comparisons.queries.transcripts import conversation_of
from comparisons.services import chat
from comparisons.services.drawing import Look, NothingServes
from comparisons.services.onboarding import ConsentNeeded, OnboardingRefused, PracticeNeeded
from comparisons.services.wellbeing import DailyLimit, NotOptedIn
from comparisons.web.access import NOT_YOURS, crowdworker_required
from comparisons.web.context import theme_of
from comparisons.web.error_views import wants_json
from comparisons.web.forms import EndForm, MessageForm
from comparisons.web.stage import answer, page_context, refusal, stage_context

STATUS_OF = (
    (chat.EmptyMessage, 422, "empty"),
    (chat.MessageTooLong, 422, "too_long"),
    (chat.TurnInFlight, 429, "in_flight"),
    (NothingServes, 503, "models_away"),
    (ConsentNeeded, 409, "consent_needed"),
    (PracticeNeeded, 409, "practice_needed"),
    (DailyLimit, 409, "daily_limit"),
    (NotOptedIn, 409, "not_opted_in"),
    (OnboardingRefused, 409, "no_work"),
    (chat.ChatRefused, 409, "went_on"),
)
REFUSED = (chat.ChatRefused, NothingServes, OnboardingRefused, DailyLimit, NotOptedIn)


def own_conversation(crowdworker: Crowdworker, public_id: Any) -> Conversation:
    """The person's conversation, or nothing at this address."""
    try:
        return conversation_of(crowdworker, public_id)
    except Conversation.DoesNotExist:
        raise Http404(NOT_YOURS) from None


def refused(
    request: HttpRequest, conversation: Conversation, error: Exception, *, draft: str = ""
) -> HttpResponse:
    """The refusal of a service in its status and words, with the way out where there is one."""
    status, code = next((s, c) for kind, s, c in STATUS_OF if isinstance(error, kind))
    way_out = None
    if isinstance(error, PracticeNeeded) and conversation.campaign is not None:
        address = reverse("practice", args=[conversation.campaign.slug])
        way_out = {"url": address, "words": _("Do the practice")}
    return refusal(
        request, conversation, status=status, code=code, message=str(error), draft=draft,
        way_out=way_out,
    )  # fmt: skip


def look_of(request: HttpRequest) -> Look:
    """How the responses will be seen, as the page says."""
    layout = request.POST.get("layout", "")
    return Look(
        layout=layout if layout in {"side_by_side", "stacked"} else "", theme=theme_of(request)
    )


@require_safe
@crowdworker_required
def conversation(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """The whole page; with `Accept: application/json` only what may have changed."""
    own = own_conversation(crowdworker, public_id)
    if wants_json(request):
        return answer(request, own)
    context = stage_context(request, own)
    return render(request, "comparisons/conversation.html", context | page_context(own))


@require_POST
@crowdworker_required
def say(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """One message; sent twice with the same key it is stored once."""
    own = own_conversation(crowdworker, public_id)
    form = MessageForm(request.POST)
    if not form.is_valid():
        message = _("This message could not be read. Your text is kept: send it again.")
        return refusal(request, own, status=422, code="unreadable", message=message)
    sent = form.cleaned_data
    try:
        turn = chat.say(
            own,
            text=sent["text"],
            message_key=sent["message_key"],
            look=look_of(request),
            after=sent["after"],
            active_milliseconds=sent["active_milliseconds"] or 0,
        )
    except REFUSED as error:
        return refused(request, own, error, draft=sent["text"])
    return answer(request, own, saved=str(turn.public_id))


@require_POST
@crowdworker_required
def intent(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Red team: what will be tried, before the first turn."""
    own = own_conversation(crowdworker, public_id)
    try:
        sent = request.POST
        chat.set_intent(own, sent.get("intent", ""), topic=sent.get("topic", ""))
    except REFUSED as error:
        return refused(request, own, error)
    return answer(request, own)


@require_POST
@crowdworker_required
def comment(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Keep the comment as it is typed."""
    own = own_conversation(crowdworker, public_id)
    try:
        chat.keep_comment(own, request.POST.get("comment", ""))
    except REFUSED as error:
        return refused(request, own, error)
    return HttpResponse(status=204) if wants_json(request) else answer(request, own)


@require_POST
@crowdworker_required
def end(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Finish the conversation, then go on with the next one or to the campaign's page."""
    own = own_conversation(crowdworker, public_id)
    form = EndForm(request.POST)
    if not form.is_valid():
        message = _("Answer the end questions first.")
        return refusal(request, own, status=422, code="unanswered", message=message)
    sent = form.cleaned_data
    answers = {name: sent[name] for name in chat.QUESTIONS if sent.get(name)}
    comment_text = sent["comment"] if "comment" in request.POST else own.comment
    try:
        ended = chat.end_conversation(
            own,
            rating=sent["rating"],
            comment=comment_text,
            questionnaire=answers,
            active_milliseconds=sent["active_milliseconds"] or 0,
        )
    except REFUSED as error:
        return refused(request, own, error, draft=comment_text)
    if ended.position is None:
        words = _("Not counted: no choice was made. Another conversation takes its place.")
        messages.warning(request, words)
    target = _after(ended, goes_on=request.POST.get("then") == "next")
    if wants_json(request):
        return answer(request, own, go_to=target)
    return redirect(target)


def _after(ended: Conversation, *, goes_on: bool) -> str:
    assert ended.campaign is not None
    home = reverse("campaign_home", args=[ended.campaign.slug])
    if not goes_on or ended.assignment is None:
        return home
    ended.assignment.refresh_from_db()
    try:
        following = chat.start_conversation(ended.assignment)
    except (chat.ChatRefused, OnboardingRefused):
        return home
    return reverse("conversation", args=[following.public_id])
