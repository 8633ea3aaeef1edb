"""Where Prolific posts its events: believed by their signature alone, whatever cookies come along.

Knows headers and status codes; what an event does is the service's.
"""

import logging

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from comparisons.services import arrival_events

logger = logging.getLogger(__name__)


@csrf_exempt
@login_not_required
@require_POST
def prolific_hook(request: HttpRequest) -> JsonResponse:
    """Heed one signed event; the same event again is answered with 200 and changes nothing."""
    try:
        arrival_events.check_signature(
            body=request.body,
            timestamp=request.headers.get("X-Prolific-Request-Timestamp", ""),
            signature=request.headers.get("X-Prolific-Request-Signature", ""),
        )
    except arrival_events.EventRefused as refusal:
        logger.warning("an event for Prolific's address was refused: %s", refusal)
        return JsonResponse({"error": "not_signed", "message": str(refusal)}, status=403)
    try:
        is_new = arrival_events.take_event(
            body=request.body, event_id=request.headers.get("X-Event-ID", "")
        )
    except arrival_events.EventRefused as refusal:
        return JsonResponse({"error": "unreadable", "message": str(refusal)}, status=400)
    return JsonResponse({"heeded": is_new})
