"""Pages for what went wrong: what happened, what is kept, what to do.

Knows status codes and words; knows nothing of the view that failed.
"""

import logging
import secrets

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

logger = logging.getLogger(__name__)


def wants_json(request: HttpRequest) -> bool:
    """A script asked (fetch), so the answer is JSON; a plain form gets a page."""
    return "application/json" in request.headers.get("Accept", "")


def problem(
    request: HttpRequest, *, status: int, code: str, message: str, retry_after: int = 0
) -> HttpResponse:
    """One refusal, as JSON for scripts and as a page for people."""
    if wants_json(request):
        body = {"error": code, "message": message, "retry_after": retry_after}
        response: HttpResponse = JsonResponse(body, status=status)
    else:
        response = render(request, "errors/problem.html", {"message": message}, status=status)
    if retry_after:
        response["Retry-After"] = str(retry_after)
    return response


@login_not_required
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 -- Django passes it
    """404 for what is not there and for what is somebody else's."""
    message = _("There is nothing at this address, or it is not yours to see.")
    return problem(request, status=404, code="not_found", message=message)


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 -- Django passes it
    """403 for a form that was open too long; the text stays in the browser's outbox."""
    message = _(
        "This page was open too long or came through another address. "
        "Your text is kept: send it again."
    )
    return problem(request, status=403, code="form_expired", message=message)


@login_not_required
def server_error(request: HttpRequest) -> HttpResponse:
    """500 with a reference that stands in the log."""
    reference = secrets.token_hex(4)
    logger.error("reference %s: %s %s failed", reference, request.method, request.path)
    message = _(
        "Something broke on our side. What you typed is kept on this device. Reference {reference}."
    ).format(reference=reference)
    return problem(request, status=500, code="broken", message=message)
