"""Inside MTurk's frame: the crowd's pages once more below /mturk/, with cookies of their own.

Knows addresses, headers and cookies; knows nothing of who arrives or what a page shows.
"""

from collections.abc import Awaitable, Callable
from http.cookies import Morsel, SimpleCookie

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PATH = "/mturk/"
COOKIE_PREFIX = "mturk_"
ADDRESSES = "comparisons.web.arrival_frame_urls"


class _FramedCookie(Morsel[str]):
    """A cookie that a browser keeps apart for each site that frames us (before Python 3.14 knew how)."""

    def OutputString(self, attrs: list[str] | None = None) -> str:  # noqa: N802 -- the library's name
        return f"{super().OutputString(attrs)}; Partitioned"


def is_framed(request: HttpRequest) -> bool:
    """The request came through the addresses that MTurk may frame."""
    return getattr(request, "urlconf", None) == ADDRESSES


def _enter(request: HttpRequest) -> None:
    """Only the frame's own cookies are seen, under their usual names."""
    request.urlconf = ADDRESSES  # type: ignore[attr-defined]
    request.COOKIES = {
        name.removeprefix(COOKIE_PREFIX): value
        for name, value in request.COOKIES.items()
        if name.startswith(COOKIE_PREFIX)
    }


def _leave(response: HttpResponseBase) -> HttpResponseBase:
    """MTurk alone may frame the page; cookies get the frame's names and stay below its path."""
    del response["X-Frame-Options"]
    response._csp_replace = {"frame-ancestors": settings.MTURK_HOSTS}  # type: ignore[attr-defined]  # noqa: SLF001 -- as csp.decorators do
    framed: SimpleCookie = SimpleCookie()
    for name, cookie in response.cookies.items():
        morsel = _FramedCookie()
        morsel.set(f"{COOKIE_PREFIX}{name}", cookie.value, cookie.coded_value)
        morsel.update({**cookie, "path": PATH, "domain": "", "samesite": "None", "secure": True})
        framed[f"{COOKIE_PREFIX}{name}"] = morsel
    response.cookies = framed
    return response


def allow_submit(response: HttpResponseBase) -> HttpResponseBase:
    """Let the last form of a page go to MTurk, through whichever of its hosts it leads."""
    response._csp_update = {"form-action": settings.MTURK_HOSTS}  # type: ignore[attr-defined]  # noqa: SLF001 -- as csp.decorators do
    return response


@sync_and_async_middleware
def framed_by_mturk(
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Serve /mturk/ apart from everything else; all other requests pass untouched."""
    if iscoroutinefunction(get_response):

        async def framed_async(request: HttpRequest) -> HttpResponseBase:
            if not request.path_info.startswith(PATH):
                return await get_response(request)  # type: ignore[misc]
            _enter(request)
            return _leave(await get_response(request))  # type: ignore[misc]

        return framed_async

    def framed(request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(PATH):
            return get_response(request)  # type: ignore[return-value]
        _enter(request)
        return _leave(get_response(request))  # type: ignore[arg-type]

    return framed
