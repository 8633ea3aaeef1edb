"""No address holds a NUL character: PostgreSQL cannot look one up, and nothing of ours has one in its name.

Knows addresses only; what is sent in a body is read by forms and serializers, which refuse it themselves.
"""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.decorators import sync_and_async_middleware

from comparisons.web.error_views import problem

API = "/api/"
MESSAGE = (
    "This address holds a NUL character (%00), which nothing here has. Take it out, then ask again."
)


def _has_nul(request: HttpRequest) -> bool:
    asked = request.META.get("QUERY_STRING", "")
    return "\0" in request.path_info or "\0" in asked or "%00" in asked


def _refusal(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith(API):
        return JsonResponse({"detail": MESSAGE}, status=400)
    return problem(request, status=400, code="nul_in_address", message=MESSAGE)


@sync_and_async_middleware
def refuse_nul(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Answer 400 where the path or the query holds a NUL; every other request passes untouched."""
    if iscoroutinefunction(get_response):

        async def refused_async(request: HttpRequest) -> HttpResponseBase:
            if _has_nul(request):
                # only event streams come this way, and no page of theirs is read by a person
                return JsonResponse({"detail": MESSAGE}, status=400)
            return await get_response(request)  # type: ignore[misc]

        return refused_async

    def refused(request: HttpRequest) -> HttpResponseBase:
        return _refusal(request) if _has_nul(request) else get_response(request)  # type: ignore[return-value]

    return refused
