"""A person's own conversations, one by one, and how to delete one of them.

Knows requests and templates; blanking is the service's.
"""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from comparisons.models import Conversation, Crowdworker
from comparisons.queries import own_work
from comparisons.services import withdrawal
from comparisons.web.access import NOT_YOURS, own_data_of


@require_safe
@own_data_of
def my_conversations(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """Newest first, a page at a time."""
    before = request.GET.get("before", "")
    wanted = int(before) if before.isdecimal() and len(before) < 19 else None
    found = list(own_work.conversations(crowdworker, before=wanted))
    shown = found[: own_work.PAGE]
    older = shown[-1].pk if len(found) > len(shown) else None
    context = {"conversations": shown, "older": older}
    return render(request, "comparisons/my_conversations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@own_data_of
def delete_conversation(
    request: HttpRequest, crowdworker: Crowdworker, public_id: Any
) -> HttpResponse:
    """Say what deleting means; do it once it is confirmed."""
    mine = crowdworker.conversations.select_related("campaign").filter(is_withdrawn=False)
    own = mine.filter(public_id=public_id).exclude(state=Conversation.State.OPEN).first()
    if own is None:
        raise Http404(NOT_YOURS)
    if request.method == "POST" and request.POST.get("is_sure"):
        withdrawal.delete_conversation(own)
        messages.success(request, _("Deleted: its texts were removed."))
        return redirect("my_conversations")
    return render(request, "comparisons/delete_conversation.html", {"conversation": own})
