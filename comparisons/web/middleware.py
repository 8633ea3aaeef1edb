"""Headers that every page carries: private pages stay out of caches, device features stay shut.

Static files never pass here; knows nothing of who asks or what a page shows.
"""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PERMISSIONS = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"


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
            return _mark(await get_response(request))  # type: ignore[misc]

        return marked_async

    def marked(request: HttpRequest) -> HttpResponseBase:
        return _mark(get_response(request))  # type: ignore[arg-type]

    return marked
