"""What every page goes through: headers that keep it private, and the way to signing in and back.

Static files never pass here; knows nothing of what a page shows.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib import messages
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.decorators import sync_and_async_middleware
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from comparisons.web.context import is_staff_place
from comparisons.web.error_views import not_allowed, wants_json

METHOD_NOT_ALLOWED = 405
UNSENT = "#unsent"  # of a staff form's page: its script puts back what was typed
PERMISSIONS = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"


def _told(request: HttpRequest, place: str) -> str:
    """Where to go after signing in, once the person is told that the form was not taken."""
    if not wants_json(request):
        messages.warning(request, _("You were signed out, so what you sent was not taken."))
    return place + UNSENT if is_staff_place(place) else place


def _mark(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Permissions-Policy", PERMISSIONS)
    response.headers.setdefault("Cache-Control", "no-store, private")
    return response


@sync_and_async_middleware
def private_responses(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Mark each response as private to the person who asked for it."""
    if iscoroutinefunction(get_response):

        async def marked_async(request: HttpRequest) -> HttpResponseBase:
            response = await get_response(request)  # type: ignore[misc]
            if response.status_code == METHOD_NOT_ALLOWED:
                response = await sync_to_async(not_allowed)(request, response)
            return _mark(response)

        return marked_async

    def marked(request: HttpRequest) -> HttpResponseBase:
        response: Any = get_response(request)
        if response.status_code == METHOD_NOT_ALLOWED:
            response = not_allowed(request, response)
        return _mark(response)

    return marked


def page_it_came_from(request: HttpRequest) -> str:
    """The page of ours that the request's form or link stood on, as path and query; empty when none is known."""
    page = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(
        page, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    parts = urlsplit(page if is_ours else "")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


class SignInFirst(LoginRequiredMiddleware):
    """Whoever sent a form after the session was over comes back to its page: the address of the form shows none."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        """Django's redirect, for a form to the page that it stood on."""
        place = page_it_came_from(request)
        if request.method != "POST" or not place:
            return super().handle_no_permission(request, view_func)
        return redirect_to_login(_told(request, place), resolve_url(self.get_login_url(view_func)))
