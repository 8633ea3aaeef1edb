"""How an account likes its pages: theme, language, keys.

Knows the account alone; cookies and pages belong to the web layer.
"""

from django.conf import settings
from django.utils.translation import gettext as _

from comparisons.models import Account

KEY_ACTIONS = {
    "both_bad": "b",
    "reason": "e",
    "skip": "s",
    "flag": "f",
    "stop": "x",
    "show": "r",
    "message": "m",
    "undo": "z",
    "instructions": "g",
    "pause": "p",
    "keys": "?",
}


class PreferenceError(ValueError):
    """A preference holds something it may not; the message names the cure."""


def set_theme(account: Account, theme: str) -> None:
    """Keep system, light or dark."""
    if theme not in Account.Theme.values:
        raise PreferenceError("Theme: one of system, light, dark.")
    account.theme = theme
    account.save(update_fields=["theme"])


def set_language(account: Account, language: str) -> None:
    """Keep one of the interface's languages."""
    if language not in dict(settings.LANGUAGES):
        raise PreferenceError("Language: one of " + ", ".join(dict(settings.LANGUAGES)) + ".")
    account.language = language
    account.save(update_fields=["language"])


def set_keys(account: Account, *, has_single_keys: bool, key_map: dict[str, str]) -> None:
    """Switch single keys on or off and keep those that differ from the usual ones."""
    merged = {action: key_map.get(action) or usual for action, usual in KEY_ACTIONS.items()}
    if any(len(key) != 1 or key.isdigit() or key.isspace() for key in merged.values()):
        raise PreferenceError(_("Each key is one character, and no digit: 1 to 8 are the strip."))
    if len(set(merged.values())) < len(merged):
        raise PreferenceError(_("Two actions have the same key. Give each its own."))
    account.has_single_keys = has_single_keys
    account.key_map = {name: key for name, key in merged.items() if key != KEY_ACTIONS[name]}
    account.save(update_fields=["has_single_keys", "key_map"])


def keys_of(account: Account) -> dict[str, str]:
    """Action → key, the account's own first."""
    return {**KEY_ACTIONS, **account.key_map}
