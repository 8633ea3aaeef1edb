"""Signing in and out, and how an account likes its pages.

Knows sessions and cookies; who may sign in is decided by the services.
"""

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from comparisons.models import Account
from comparisons.services import limits, preferences
from comparisons.services.accounts import (
    SignInLinkInvalid,
    may_have_password,
    use_sign_in_link,
)
from comparisons.services.confirmations import note_confirmation
from comparisons.services.known_addresses import is_known_address, note_address
from comparisons.web.access import account_of
from comparisons.web.error_views import problem
from comparisons.web.forms import KeysForm, PreferencesForm, SignInForm

YEAR = 365 * 24 * 3600
ENTERED_BY_LINK = (
    "entered_by_link"  # in a session: whoever lost a password can choose another in it
)
QUARTER_HOUR = 900
MISFIT = gettext_lazy("Name and password do not fit together. Check both.")
TOO_FAST = gettext_lazy("A little fast. Try again in {seconds} s.")


def address_of(request: HttpRequest) -> str:
    """Where the request came from, as the server saw it."""
    return str(request.META.get("REMOTE_ADDR", ""))


def safe_next(request: HttpRequest, wanted: str) -> str:
    """`wanted` when it is a path of ours, otherwise the start page."""
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if wanted.startswith("/") and is_ours else reverse("home")


def too_fast(request: HttpRequest, seconds: int) -> HttpResponse:
    """429 with the time to wait."""
    message = TOO_FAST.format(seconds=seconds)
    return problem(request, status=429, code="too_fast", message=message, retry_after=seconds)


def seconds_to_wait(request: HttpRequest, *, act: str, username: str) -> int:
    """Count one try of a password at `act`: by address, by name and address, by name.

    What one limit refuses is not counted by the next: else one address would use up a name's tries
    for everybody, and leave a row for each name it makes up. Where the name was signed in to of
    late, only what was tried there counts, so that nobody can shut its owner out from elsewhere.
    """
    address = address_of(request)[:45]
    tries = [(f"{act}-from:{address}", 200), (_tries(request, act=act, username=username), 10)]
    if not is_known_address(username=username, address=address):
        tries.append((f"{act}:{username.casefold()[:60]}", 50))
    refusals = (limits.take(key, limit=limit, seconds=QUARTER_HOUR) for key, limit in tries)
    return next((seconds for seconds in refusals if seconds), 0)


def forget_tries(request: HttpRequest, *, act: str, username: str) -> None:
    """The password was right: this name starts afresh at this address."""
    limits.forget(_tries(request, act=act, username=username))


def _tries(request: HttpRequest, *, act: str, username: str) -> str:
    return f"{act}:{username.casefold()[:60]}:{address_of(request)[:45]}"


def enter(request: HttpRequest, account: Account, target: str) -> HttpResponseRedirect:
    """Start the session, confirmed for the next minutes, and bring the account's theme and language along."""
    login(request, account)
    note_confirmation(request.session)
    response = HttpResponseRedirect(target)
    if account.language:
        _keep_cookie(response, settings.LANGUAGE_COOKIE_NAME, account.language)
    _keep_cookie(response, "theme", account.theme)
    return response


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Name and password, with the same words and the same work for every wrong pair."""
    target = safe_next(request, request.POST.get("next") or request.GET.get("next", ""))
    if request.user.is_authenticated:
        return redirect(target)
    form = SignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        username = form.cleaned_data["username"]
        if seconds := seconds_to_wait(request, act="sign-in", username=username):
            return too_fast(request, seconds)
        account = authenticate(request, username=username, password=form.cleaned_data["password"])
        if isinstance(account, Account):
            forget_tries(request, act="sign-in", username=username)
            note_address(username=username, address=address_of(request)[:45])
            return enter(request, account, target)
        form.add_error(None, MISFIT)
    status = 422 if form.errors else 200
    return render(request, "account/sign_in.html", {"form": form, "next": target}, status=status)


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link: shown first, used by the button, so that a link preview cannot spend it.

    Whoever has no password yet is asked for one; everybody else starts at home.
    """
    if request.method != "POST":
        return render(request, "account/sign_in_link.html", {"token": token})
    if seconds := limits.take(f"link:{address_of(request)[:45]}", limit=30, seconds=QUARTER_HOUR):
        return too_fast(request, seconds)
    try:
        account = use_sign_in_link(token)
    except SignInLinkInvalid:
        message = _("This link was used before or is too old. Ask for a new one.")
        return problem(request, status=410, code="link_used", message=message)
    note_address(username=account.username, address=address_of(request)[:45])
    is_asked = may_have_password(account) and not account.has_usable_password()
    response = enter(request, account, reverse("password" if is_asked else "home"))
    request.session[ENTERED_BY_LINK] = True
    return response


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("sign_in")


def _keep_cookie(response: HttpResponse, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=YEAR,
        samesite="Lax",
        secure=settings.IS_HTTPS,
        httponly=True,
    )


@login_not_required
@require_POST
def preferences_view(request: HttpRequest) -> HttpResponse:
    """Theme and language: a cookie for the browser, a column for the account."""
    form = PreferencesForm(request.POST)
    form.is_valid()
    response = redirect(safe_next(request, form.cleaned_data.get("next", "")))
    theme, language = form.cleaned_data.get("theme"), form.cleaned_data.get("language")
    account = request.user if isinstance(request.user, Account) else None
    if theme in Account.Theme.values:
        _keep_cookie(response, "theme", theme)
        if account:
            preferences.set_theme(account, theme)
    if language in dict(settings.LANGUAGES):
        _keep_cookie(response, settings.LANGUAGE_COOKIE_NAME, language)
        if account:
            preferences.set_language(account, language)
    return response


def key_words() -> dict[str, str]:
    """Action → what its key does, in words."""
    return {
        "both_bad": _("Both are bad"),
        "reason": _("Reason"),
        "skip": _("Skip this turn"),
        "flag": _("Flag"),
        "stop": _("Stop writing"),
        "show": _("Show covered text"),
        "message": _("Go to the message box"),
        "undo": _("Undo the choice"),
        "instructions": _("Instructions"),
        "pause": _("Pause"),
        "keys": _("This list of keys"),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """The list of keys, the switch, and one field per key."""
    account = account_of(request)
    now = preferences.keys_of(account)
    actions = {name: (words, now[name]) for name, words in key_words().items()}
    initial = {"has_single_keys": account.has_single_keys}
    form = KeysForm(request.POST or None, actions=actions, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            preferences.set_keys(
                account,
                has_single_keys=form.cleaned_data["has_single_keys"],
                key_map=form.key_map(),
            )
        except preferences.PreferenceError as error:
            form.add_error(None, str(error))
        else:
            return redirect(safe_next(request, request.POST.get("next", "")))
    status = 422 if form.errors else 200
    context = {"form": form, "next": request.GET.get("next", "")}
    return render(request, "account/keys.html", context, status=status)
