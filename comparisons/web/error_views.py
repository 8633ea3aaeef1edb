"""Pages for what went wrong: what happened, what is kept, what to do.

Knows status codes and words; knows nothing of the view that failed.
"""

import logging
import secrets
import sqlite3
import sys

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views import defaults

from comparisons.services.together import NotStored

API = "/api/"
NO_SUCH_ADDRESS = "There is nothing at this address: /api/v1/schema/ lists those that there are."
UNREADABLE = (
    "This request cannot be read. Ask at the address that people open this installation under, "
    "and send what /api/v1/schema/ describes."
)
BROKEN = "Something broke on our side. Reference {reference}."
AGAIN_SECONDS = 2  # what locks a database or restarts one is mostly over by then
CONFIRMING = "confirming_password"  # the field beside an act's own
PRIMARY_CODE = 0xFF  # of SQLite's extended result codes

logger = logging.getLogger(__name__)


def wants_json(request: HttpRequest) -> bool:
    """A script asked (fetch), so the answer is JSON; a plain form gets a page."""
    return "application/json" in request.headers.get("Accept", "")


def is_of_api(request: HttpRequest) -> bool:
    """A client of the REST API asked: whatever it accepts, errors there have one form."""
    return request.path_info.startswith(API)


def problem(
    request: HttpRequest, *, status: int, code: str, message: str, retry_after: int = 0
) -> HttpResponse:
    """One refusal, as JSON for scripts and clients of the API, and as a page for people."""
    if is_of_api(request):
        response: HttpResponse = JsonResponse({"detail": message}, status=status)
    elif wants_json(request):
        body = {"error": code, "message": message, "retry_after": retry_after}
        response = JsonResponse(body, status=status)
    else:
        response = render(request, "errors/problem.html", {"message": message}, status=status)
    if retry_after:
        response["Retry-After"] = str(retry_after)
    return response


@login_not_required
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001 -- Django passes it
    """404 for what is not there and for what is somebody else's."""
    message = _("There is nothing at this address, or it is not yours to see.")
    if is_of_api(request):
        message = NO_SUCH_ADDRESS
    return problem(request, status=404, code="not_found", message=message)


@login_not_required
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 for what is refused before any view reads it; Django's own page where a page was asked for."""
    if is_of_api(request):
        return problem(request, status=400, code="bad_request", message=UNREADABLE)
    return defaults.bad_request(request, exception)


def not_allowed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A page where somebody opened an address that takes forms alone; programs get the bare 405."""
    is_page_wanted = "text/html" in request.headers.get("Accept", "")
    if request.method != "GET" or response.content or not is_page_wanted:
        return response
    message = _("This address only takes a form. Go back to the page that the form is on.")
    page = problem(request, status=405, code="form_only", message=message)
    page["Allow"] = response["Allow"]
    return page


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
    """500 with a reference that stands in the log; 503 where the database is away."""
    failure = sys.exc_info()[1]
    if is_away(failure):
        logger.warning(
            "%s %s: the database does not answer (%s)", request.method, request.path, failure
        )
        return database_away(request)
    reference = secrets.token_hex(4)
    logger.error("reference %s: %s %s failed", reference, request.method, request.path)
    message = _(
        "Something broke on our side. What you typed is kept on this device. Reference {reference}."
    ).format(reference=reference)
    if is_of_api(request):
        message = BROKEN.format(reference=reference)
    return problem(request, status=500, code="broken", message=message)


def is_away(failure: BaseException | None) -> bool:
    """A database that is locked, full, restarting or too slow; nothing that would fail again the next time."""
    if isinstance(failure, InterfaceError | NotStored):
        return True
    code = getattr(failure.__cause__, "sqlite_errorcode", None) if failure else None
    is_wrong = code is not None and code & PRIMARY_CODE == sqlite3.SQLITE_ERROR  # no such table
    return isinstance(failure, OperationalError) and not is_wrong


def database_away(request: HttpRequest) -> HttpResponse:
    """503, made without the database; a form can be sent again as it was."""
    message = _("The database does not answer just now. Try again in a moment.")
    if is_of_api(request) or wants_json(request):
        return problem(request, status=503, code="away", message=message, retry_after=AGAIN_SECONDS)
    context = {"message": message, "address": request.get_full_path(), "typed": _again(request)}
    response = HttpResponse(render_to_string("errors/away.html", context), status=503)
    response["Retry-After"] = str(AGAIN_SECONDS)
    return response


def sent_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Every field that was sent, in order; none where the form cannot be read."""
    try:
        return [(name, value) for name, values in request.POST.lists() for value in values]
    except UnreadablePostError:
        return []


def _again(request: HttpRequest) -> list[tuple[str, str]]:
    """What is to be sent again; nothing where a field is a secret, which no page should hold.

    The password that confirms an act is asked for anew, so it alone is left out.
    """
    sent = [pair for pair in sent_fields(request) if pair[0] != CONFIRMING]
    return [] if any("password" in name for name, _value in sent) else sent
