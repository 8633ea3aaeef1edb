"""The event stream of one turn, for the person who wrote its message.

Knows ownership and headers; the events come from the streaming service.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from comparisons.models import Account
from comparisons.services.streaming import server_sent_events
from comparisons.web.access import account_of, crowdworker_of
from comparisons.web.turn_views import own_turn

MOST_OPEN = 8  # streams of one person in one process: each holds a connection to Redis
ONE_TOO_MANY = b"retry: 10000\n\n"  # milliseconds until the browser connects again by itself
_open: Counter[int] = Counter()  # by account


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
        _counted(account.pk, server_sent_events(public_id, last_event_id=last_event_id)),
        content_type="text/event-stream",
    )
    response["Cache-Control"] = "no-store, private"
    response["X-Accel-Buffering"] = "no"
    return response


async def _counted(account: int, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream, or an end at once for whoever has too many open: the browser comes back by itself."""
    if _open[account] >= MOST_OPEN:
        yield ONE_TOO_MANY
        return
    _open[account] += 1
    try:
        async for event in events:
            yield event
    finally:
        _open[account] -= 1
        if not _open[account]:
            del _open[account]
