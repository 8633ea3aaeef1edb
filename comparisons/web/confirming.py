"""Asked again who you are: acts that do harm in the wrong hands need a password of the last minutes.

Knows sessions, the page that asks and the way back to the act; which acts ask, their views say.
"""

from functools import wraps
from typing import ParamSpec
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import authenticate, update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from comparisons.models import Account
from comparisons.services.accounts import may_have_password
from comparisons.services.confirmations import is_confirmed, note_confirmation
from comparisons.web.access import NOT_YOURS, PageView, account_of
from comparisons.web.account_views import TOO_FAST, forget_tries, safe_next, seconds_to_wait
from comparisons.web.error_views import CONFIRMING, sent_fields, wants_json
from comparisons.web.forms import ConfirmForm
from comparisons.web.manage_acts import waiting_act
from comparisons.web.middleware import page_it_came_from
from comparisons.web.password_views import ACT

P = ParamSpec("P")
READS = {"GET", "HEAD", "OPTIONS"}
ASKED_ON = "confirming_from"  # the page to go back to, which a second try no longer comes from
NOT_SENT_ON = {"csrfmiddlewaretoken", CONFIRMING, ASKED_ON}


def confirm_to_change(view: PageView[P]) -> PageView[P]:
    """What the view changes waits until the person is confirmed; its pages do not.

    The page that asks stands at the act's own address and sends the act's fields along with the
    password: so they are not lost, and no other address is ever gone to.
    """

    @wraps(view)
    @sensitive_post_parameters(CONFIRMING)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.method in READS or is_confirmed(request.session):
            return view(request, *args, **kwargs)
        if wants_json(request):
            return _told_a_script(request)
        form = ConfirmForm(request.POST if CONFIRMING in request.POST else None)
        if form.is_bound and _is_right(request, form):
            return view(request, *args, **kwargs)
        kept = [pair for pair in sent_fields(request) if pair[0] not in NOT_SENT_ON]
        asked_on = request.POST.get(ASKED_ON) or page_it_came_from(request)
        way_on = {
            "address": request.get_full_path(), "kept": kept, "is_act": True,
            "back": safe_next(request, asked_on), "asked_on": asked_on,
        }  # fmt: skip
        return _ask(request, form, way_on=way_on, status=403)

    return guarded


def confirm_to_download(view: PageView[P]) -> PageView[P]:
    """The view's file waits until the person is confirmed, who then comes back to the page of its link."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if is_confirmed(request.session):
            return view(request, *args, **kwargs)
        if wants_json(request):
            return _told_a_script(request)
        back = page_it_came_from(request) or request.get_full_path()
        return _ask(request, ConfirmForm(), way_on=_way_by_page(back), status=403)

    return guarded


@sensitive_post_parameters(CONFIRMING)
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """The page by itself, for what cannot bring the act's fields along: it leads to `next`, a page of ours."""
    if not may_have_password(account_of(request)):
        raise Http404(NOT_YOURS)
    target = safe_next(request, request.POST.get("next") or request.GET.get("next", ""))
    if is_confirmed(request.session):
        return redirect(target)
    form = ConfirmForm(request.POST or None)
    if form.is_bound and _is_right(request, form):
        return redirect(target)
    return _ask(request, form, way_on=_way_by_page(target), status=200)


def _way_by_page(target: str) -> dict[str, object]:
    way_on = {"address": reverse("confirm"), "kept": [("next", target)], "next": target}
    return {**way_on, "back": target}


def _is_right(request: HttpRequest, form: ConfirmForm) -> bool:
    """Check the password once; the session of whoever knows it goes on under a new key."""
    if not form.is_valid():
        return False
    name = account_of(request).username
    if seconds := seconds_to_wait(request, act=ACT, username=name):
        form.add_error(None, TOO_FAST.format(seconds=seconds))
        form.seconds_to_wait = seconds
        return False
    account = authenticate(request, username=name, password=form.cleaned_data[CONFIRMING])
    if not isinstance(account, Account) or account != request.user:
        form.add_error(None, _("This is not your password."))
        return False
    forget_tries(request, act=ACT, username=name)
    update_session_auth_hash(request, account)  # a copy of the old key is not confirmed with it
    note_confirmation(request.session)
    return True


def _ask(
    request: HttpRequest, form: ConfirmForm, *, way_on: dict[str, object], status: int
) -> HttpResponse:
    """The page that asks, with `status` unless a try was refused."""
    account = account_of(request)
    context = {
        "form": form, "name": account.username, "minutes": settings.CONFIRM_MINUTES,
        "has_password": account.has_usable_password(), "act": waiting_act(request), **way_on,
    }  # fmt: skip
    if form.errors:
        status = 429 if form.seconds_to_wait else 422
    response = render(request, "account/confirm.html", context, status=status)
    if form.seconds_to_wait:
        response["Retry-After"] = str(form.seconds_to_wait)
    return response


def _told_a_script(request: HttpRequest) -> JsonResponse:
    """403 with the address of the page that asks, which leads back to where the script runs."""
    query = urlencode({"next": page_it_came_from(request) or reverse("home")})
    message = _("This needs your password again. Confirm that it is you, then try once more.")
    body = {"error": "not_confirmed", "message": message, "page": f"{reverse('confirm')}?{query}"}
    return JsonResponse(body, status=403)
