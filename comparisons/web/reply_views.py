"""Replies written by people: one waiting prompt, one text box, and a way to give it back.

Knows requests and forms; leases and what a reply is compared with belong to the service.
"""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from comparisons.models import Crowdworker, WantedReply
from comparisons.queries.dialogues import messages_of
from comparisons.services import replies, wellbeing
from comparisons.web.access import NOT_YOURS, crowdworker_required
from comparisons.web.forms import ReplyForm
from comparisons.web.stage import skip_words


@require_safe
@crowdworker_required
def next_prompt(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """The prompt in the person's hands, or the next one."""
    return _page(request, crowdworker, replies.take(crowdworker))


def _page(
    request: HttpRequest,
    crowdworker: Crowdworker,
    wanted: WantedReply | None,
    *,
    text: str = "",
    kept: str = "",
    message: str = "",
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {"wanted": wanted, "text": text, "kept": kept, "message": message}
    if wanted is not None:
        campaign = wanted.turn.conversation.campaign
        assert campaign is not None, "only campaigns ask for replies"
        context |= {
            "said": messages_of(wanted.turn),
            "campaign": campaign,
            "is_covered": wellbeing.covers(crowdworker, campaign),
            "pass_reasons": skip_words(),
        }
    return render(request, "comparisons/reply.html", context, status=status)


def _own(crowdworker: Crowdworker, public_id: Any) -> WantedReply:
    """A prompt that the person holds or answered; anything else does not exist."""
    mine = WantedReply.objects.select_related("turn__conversation__campaign")
    wanted = mine.filter(public_id=public_id, crowdworker=crowdworker).first()
    if wanted is None:
        raise Http404(NOT_YOURS)
    return wanted


@require_POST
@crowdworker_required
def write(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Keep the reply; the next prompt comes with the answer."""
    form = ReplyForm(request.POST)
    text = request.POST.get("text", "")
    wanted = WantedReply.objects.filter(public_id=public_id).first()
    is_over = wanted is not None and wanted.crowdworker_id != crowdworker.pk
    if is_over and text.strip():  # the lease ran out while the person wrote: the text comes back
        message = _("This one went to someone else. Your text is kept below.")
        return _page(
            request, crowdworker, replies.take(crowdworker), kept=text, message=message, status=409
        )
    wanted = _own(crowdworker, public_id)
    if not form.is_valid():
        message = _("Write between 1 and {most} characters.").format(most=replies.MOST_CHARACTERS)
        return _page(request, crowdworker, wanted, text=text, message=message, status=422)
    try:
        replies.write(
            wanted, crowdworker, text=form.cleaned_data["text"],
            active_milliseconds=form.cleaned_data["active_milliseconds"] or 0,
        )  # fmt: skip
    except replies.ReplyRefused as error:
        return _page(request, crowdworker, wanted, text=text, message=str(error), status=422)
    messages.success(request, _("Your reply is kept. Thank you."))
    return redirect("replies")


@require_POST
@crowdworker_required
def pass_on(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Give the prompt back; it goes to somebody else."""
    wanted = _own(crowdworker, public_id)
    replies.pass_on(wanted, crowdworker, reason=request.POST.get("reason", ""))
    return redirect("replies")
