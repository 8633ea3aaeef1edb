"""What people may send: bounded text, whole numbers, known words.

Knows the shape of a request; services decide what it means.
"""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _


class SignInForm(forms.Form):
    """A name and a password."""

    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=_("Password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class SignUpForm(forms.Form):
    """A new account from an invitation."""

    username = forms.CharField(
        label=_("Name to sign in with"),
        min_length=3,
        max_length=60,
        help_text=_("A name of your choice. Staff see a made-up one instead."),
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=_("Password"),
        min_length=12,
        max_length=256,
        strip=False,
        help_text=_("At least 12 characters; three or four words are easy to keep."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class PreferencesForm(forms.Form):
    """Theme or language; whichever button was pressed."""

    theme = forms.CharField(max_length=8, required=False)
    language = forms.CharField(max_length=12, required=False)
    next = forms.CharField(max_length=500, required=False)


class KeysForm(forms.Form):
    """One key per action and the switch for all of them."""

    has_single_keys = forms.BooleanField(label=_("Single keys"), required=False)

    def __init__(self, *args: Any, actions: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        """`actions`: action → (words, key now)."""
        super().__init__(*args, **kwargs)
        for action, (words, key) in actions.items():
            self.fields[f"key_{action}"] = forms.CharField(
                label=words,
                max_length=1,
                initial=key,
                widget=forms.TextInput(attrs={"autocomplete": "off", "size": "2"}),
            )

    def key_map(self) -> dict[str, str]:
        """Action → key, as sent."""
        return {
            name.removeprefix("key_"): value.lower()
            for name, value in self.cleaned_data.items()
            if name.startswith("key_")
        }
