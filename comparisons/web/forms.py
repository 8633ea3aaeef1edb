"""What people may send: bounded text, whole numbers, known words.

Knows the shape of a request; services decide what it means.
"""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from comparisons.models import Flag
from comparisons.services.judging import REASON_TAGS


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Typing begins at the name; where the form comes back, at the password."""
        super().__init__(*args, **kwargs)
        first = "password" if self.is_bound else "username"
        self.fields[first].widget.attrs["autofocus"] = True


class CodeForm(forms.Form):
    """An invitation code, as it was sent."""

    code = forms.RegexField(
        r"^[A-Za-z0-9_-]+$",
        label=_("Invitation code"),
        max_length=80,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
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


class PasswordForm(forms.Form):
    """A new password, and the current one where there is one; what is too weak, validators say."""

    current_password = forms.CharField(
        label=_("Current password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new_password = forms.CharField(
        label=_("New password"),
        max_length=256,
        strip=False,
        help_text=_("At least 12 characters; three or four words are easy to keep."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, asks_current: bool, **kwargs: Any) -> None:
        """`asks_current`: there is a current one, and whoever is here should know it."""
        super().__init__(*args, **kwargs)
        if not asks_current:
            del self.fields["current_password"]


class ConfirmForm(forms.Form):
    """The password once more; the field's name is none that an act has."""

    confirming_password = forms.CharField(
        label=_("Password"),
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )
    seconds_to_wait = 0  # after too many tries


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

    def clean(self) -> dict[str, Any]:
        """Refuse a key that several actions have, at each of them and by their names."""
        cleaned: dict[str, Any] = super().clean() or {}
        holders: dict[str, list[str]] = {}
        for name, value in cleaned.items():
            if name.startswith("key_"):
                holders.setdefault(value.lower(), []).append(name)
        for key, names in holders.items():
            if len(names) > 1:
                words = f"{key}: {', '.join(str(self.fields[each].label) for each in names)}"
                said = _("Two actions have the same key. Give each its own.")
                self.add_error(None, f"{said} {words}")
                for each in names:
                    self.add_error(each, words)
        return cleaned

    def key_map(self) -> dict[str, str]:
        """Action → key, as sent."""
        return {
            name.removeprefix("key_"): value.lower()
            for name, value in self.cleaned_data.items()
            if name.startswith("key_")
        }


class MessageForm(forms.Form):
    """One message of the person."""

    text = forms.CharField(required=False, strip=False)  # emptiness is the service's to refuse
    message_key = forms.UUIDField()
    after = forms.IntegerField(required=False, min_value=0)  # turns the page knew
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class ChoiceForm(forms.Form):
    """One pick on the strip, with the hashes of the texts that were shown."""

    point = forms.IntegerField(min_value=1, max_value=8)
    sha256_a = forms.CharField(max_length=64)
    sha256_b = forms.CharField(max_length=64)
    choice_key = forms.UUIDField()
    is_both_bad = forms.BooleanField(required=False)
    reason_tags = forms.MultipleChoiceField(
        required=False, choices=[(tag, tag) for tag in REASON_TAGS]
    )
    reason_text = forms.CharField(required=False, max_length=2000)
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class PracticeForm(forms.Form):
    """One pick of a practice comparison."""

    point = forms.IntegerField(min_value=1, max_value=8)
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class ReplyForm(forms.Form):
    """A reply written in the assistant's place."""

    text = forms.CharField(strip=False, max_length=40_000)  # the service says what is too long
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class WriteForm(forms.Form):
    """A response of the person's own, edited from one side or written against it."""

    side = forms.ChoiceField(choices=[("A", "A"), ("B", "B")])
    text = forms.CharField(strip=False, required=False)
    sha256_a = forms.CharField(max_length=64, required=False)  # of the texts that were shown
    sha256_b = forms.CharField(max_length=64, required=False)
    choice_key = forms.UUIDField()
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class EndForm(forms.Form):
    """How the conversation was."""

    rating = forms.IntegerField(required=False, min_value=1, max_value=4)
    comment = forms.CharField(required=False, max_length=4000)
    success = forms.IntegerField(required=False, min_value=1, max_value=5)
    harmfulness = forms.IntegerField(required=False, min_value=1, max_value=5)
    actionability = forms.IntegerField(required=False, min_value=1, max_value=5)
    active_milliseconds = forms.IntegerField(required=False, min_value=0, max_value=2**40)


class FlagForm(forms.Form):
    """What a person should look at."""

    kind = forms.ChoiceField(choices=Flag.Kind.choices)
    note = forms.CharField(required=False, max_length=2000)
