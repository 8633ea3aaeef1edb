"""Arriving with an invitation: an account and a profile, then the start page.

Knows requests and forms; who may join is decided by the onboarding service.
"""

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from comparisons.services import limits, onboarding
from comparisons.services.accounts import AccountExists
from comparisons.web.account_views import address_of, enter, too_fast
from comparisons.web.error_views import problem
from comparisons.web.forms import CodeForm, SignUpForm

HOUR = 3600


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def join_by_code(request: HttpRequest) -> HttpResponse:
    """Type a code that came without its link."""
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return redirect("join", form.cleaned_data["code"])
    status = 422 if form.errors else 200
    return render(request, "account/join_by_code.html", {"form": form}, status=status)


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, code: str) -> HttpResponse:
    """Sign up with an invitation code."""
    if seconds := limits.take(f"join:{address_of(request)[:45]}", limit=60, seconds=HOUR):
        return too_fast(request, seconds)
    if onboarding.usable_invitation(code) is None:
        message = _("This invitation was used or is too old. Ask for a new one.")
        return problem(request, status=410, code="invitation_used", message=message)
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            crowdworker = onboarding.sign_up(code, **form.cleaned_data)
        except AccountExists:
            form.add_error("username", _("This name is taken. Choose another one."))
        except ValidationError as weak:
            form.add_error("password", weak)
        except onboarding.InvitationInvalid as error:
            return problem(request, status=410, code="invitation_used", message=str(error))
        else:
            return enter(request, crowdworker.account, reverse("home"))
    status = 422 if form.errors else 200
    return render(request, "account/join.html", {"form": form}, status=status)
