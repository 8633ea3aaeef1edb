"""The page on which people change their own password, or set their first one.

Knows requests and the session that goes on; what a change takes and ends is the service's.
"""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from comparisons.models import Account
from comparisons.services import accounts
from comparisons.services.confirmations import is_confirmed, note_confirmation
from comparisons.web.access import NOT_YOURS, account_of
from comparisons.web.account_views import (
    ENTERED_BY_LINK,
    forget_tries,
    safe_next,
    seconds_to_wait,
    too_fast,
)
from comparisons.web.error_views import problem
from comparisons.web.forms import PasswordForm

ACT = "password"  # what tries are counted as


@sensitive_post_parameters("current_password", "new_password")
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """The new password, once, and the current one unless there is none or a one-time link stands in for it.

    A link does so for as long as it confirms who came by it: a session found open later knows no password.
    """
    account = account_of(request)
    if not accounts.may_have_password(account):
        raise Http404(NOT_YOURS)
    has_password, name = account.has_usable_password(), account.username
    by_link = request.session.get(ENTERED_BY_LINK) and is_confirmed(request.session)
    is_asked = has_password and not by_link
    form = PasswordForm(request.POST or None, asks_current=is_asked)
    if request.method == "POST" and form.is_valid():
        current = form.cleaned_data["current_password"] if is_asked else None
        if is_asked and (seconds := seconds_to_wait(request, act=ACT, username=name)):
            return too_fast(request, seconds)
        try:
            accounts.change_password(
                account, current=current, new=form.cleaned_data["new_password"]
            )
        except accounts.WrongPassword:
            form.add_error("current_password", _("This is not your current password."))
        except ValidationError as weak:
            forget_tries(request, act=ACT, username=name)
            form.add_error("new_password", weak)
        except accounts.PasswordChangedElsewhere:
            return _changed_elsewhere(request)
        else:
            forget_tries(request, act=ACT, username=name)
            return _changed(request, account, had_password=has_password)
    status = 422 if form.errors else 200
    wanted = request.POST.get("next") or request.GET.get("next", "")
    context = {"form": form, "has_password": has_password, "next": safe_next(request, wanted)}
    return render(request, "account/password.html", context, status=status)


def _changed(request: HttpRequest, account: Account, *, had_password: bool) -> HttpResponse:
    """This session goes on, under a new key; whoever came by a link knows a password from now on."""
    request.session.pop(ENTERED_BY_LINK, None)
    update_session_auth_hash(request, account)
    note_confirmation(request.session)
    if had_password:
        said = _("Your password was changed. Other devices were signed out.")
    else:
        said = _("Your password is set.")
    messages.success(request, said)
    return redirect(safe_next(request, request.POST.get("next", "")))


def _changed_elsewhere(request: HttpRequest) -> HttpResponse:
    """The session of this page is over with the password it began with."""
    message = _("Your password was changed elsewhere just now. Sign in with the new one.")
    return problem(request, status=409, code="changed_elsewhere", message=message)
