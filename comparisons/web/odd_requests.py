"""What no page of ours sends is refused before anything reads it: a NUL in an address, a charset other than UTF-8.

PostgreSQL cannot look a NUL up, and Python's codecs include some that make no text, or text without end. Knows
addresses and headers only; what is sent in a body is read by forms and serializers, which refuse it themselves.
"""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.decorators import sync_and_async_middleware

from comparisons.web.error_views import problem

UTF_8 = {"utf-8", "utf8"}
MESSAGES = {
    "nul_in_address": "This address holds a NUL character (%00), which nothing here has. Take it out, then ask again.",
    "not_utf_8": "This was sent in a charset other than UTF-8, which nothing here reads. Send it in UTF-8.",
}


def _oddity(request: HttpRequest) -> str:
    """What is wrong with the request, as the code of its message; nothing is with most."""
    asked = request.META.get("QUERY_STRING", "")
    if "\0" in request.path_info or "\0" in asked or "%00" in asked:
        return "nul_in_address"
    charset = (request.content_params or {}).get("charset", "utf-8").strip().lower()
    if charset not in UTF_8:
        return "not_utf_8"
    if charset != "utf-8":
        request.encoding = "utf-8"  # the one name of it that Django reads a form under
    return ""


def _refusal(request: HttpRequest, code: str) -> HttpResponse:
    request.encoding = "utf-8"  # the page of the refusal may ask for the address's query
    return problem(request, status=400, code=code, message=MESSAGES[code])


@sync_and_async_middleware
def refuse_odd(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Answer 400 to such a request; every other passes untouched."""
    if iscoroutinefunction(get_response):

        async def refused_async(request: HttpRequest) -> HttpResponseBase:
            if code := _oddity(request):
                # only event streams come this way, and no page of theirs is read by a person
                return JsonResponse({"detail": MESSAGES[code]}, status=400)
            return await get_response(request)  # type: ignore[misc]

        return refused_async

    def refused(request: HttpRequest) -> HttpResponseBase:
        if code := _oddity(request):
            return _refusal(request, code)
        return get_response(request)  # type: ignore[return-value]

    return refused
