"""The event stream of one turn, for the person who wrote its message.

Knows ownership and headers; the events come from the streaming service.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from comparisons.models import Account
from comparisons.services.streaming import server_sent_events
from comparisons.web.access import account_of, crowdworker_of
from comparisons.web.turn_views import own_turn


def _check(request: HttpRequest, account: Account, public_id: Any) -> None:
    request.user = account
    own_turn(crowdworker_of(account_of(request)), public_id)


@require_GET
async def turn_events(request: HttpRequest, public_id: Any) -> HttpResponseBase:
    """Deltas of both sides by letter, then `ready` or `failed`; resumes after Last-Event-ID."""
    account = await request.auser()
    await sync_to_async(_check)(request, account, public_id)
    last_event_id = request.headers.get("Last-Event-ID", "")
    response = StreamingHttpResponse(
        server_sent_events(public_id, last_event_id=last_event_id),
        content_type="text/event-stream",
    )
    response["Cache-Control"] = "no-store, private"
    response["X-Accel-Buffering"] = "no"
    return response
