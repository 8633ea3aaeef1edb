"""What the shell of every page needs: theme, languages, navigation.

Knows the account and the address; asks the database for nothing more.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import get_language, get_language_info
from django.utils.translation import gettext as _

from comparisons.models import Account, Campaign
from comparisons.web.arrival_frame import COOKIE_PREFIX, is_framed

STAFF_PLACES = ("manage/", "lab/")


def is_staff_place(path: str) -> bool:
    """An address of the administrators' pages or of the lab's."""
    return path.startswith(tuple(reverse("home") + place for place in STAFF_PLACES))


def theme_of(request: HttpRequest) -> str:
    """The account's theme, or the cookie's before sign-in."""
    user = getattr(request, "user", None)
    theme = user.theme if isinstance(user, Account) else request.COOKIES.get("theme", "")
    return theme if theme in Account.Theme.values else Account.Theme.SYSTEM.value


def _option(value: str, label: str, current: str) -> dict[str, Any]:
    return {"value": value, "label": label, "is_current": value == current}


def _navigation(account: Account, path: str) -> list[dict[str, Any]]:
    home = reverse("home")
    places = []
    if account.role == Account.Role.CROWDWORKER:
        mine = reverse("my_work")
        places.append((_("Work"), home, path == home or path.startswith(f"{home}work/")))
        places.append((_("My work"), mine, path.startswith(mine)))
    if account.is_researcher:  # an administrator is one, too
        first = "manage_dashboard" if account.is_administrator else "manage_releases"
        places.append((_("Manage"), reverse(first), path.startswith(f"{home}manage/")))
        places.append((_("Lab"), f"{home}lab/", path.startswith(f"{home}lab/")))
    return [{"label": label, "url": url, "is_current": here} for label, url, here in places]


def shell(request: HttpRequest) -> dict[str, Any]:
    """Theme, language and navigation of the shell."""
    user = getattr(request, "user", None)
    account = user if isinstance(user, Account) else None
    theme, language = theme_of(request), get_language() or settings.LANGUAGE_CODE
    names = {"system": _("System"), "light": _("Light"), "dark": _("Dark")}
    is_staff = account is not None and account.is_researcher
    # told from the row that every page has: a question of its own would be asked at each of them
    knows_password = account is not None and (is_staff or account.has_usable_password())
    return {
        "theme": theme,
        "theme_options": [_option(value, label, theme) for value, label in names.items()],
        "language_options": [_option(code, name, language) for code, name in settings.LANGUAGES],
        "is_framed": is_framed(request),
        "cookie_prefix": COOKIE_PREFIX,
        "account_name": account.get_full_name() or account.username if account else "",
        "nav": _navigation(account, request.path) if account else [],
        "is_staff": is_staff,
        "has_password_page": knows_password and not is_framed(request),
        "is_crowdworker": account is not None and account.role == Account.Role.CROWDWORKER,
        "is_staff_page": is_staff and is_staff_place(request.path),
    }


def language_words(campaign: Campaign) -> str:
    """The name of the campaign's language where it is not the one of the page."""
    if campaign.language == get_language():
        return ""
    try:
        name: str = get_language_info(campaign.language)["name_translated"]
    except KeyError:  # a language that Django has no name for
        return campaign.language
    return name
