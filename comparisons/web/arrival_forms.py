"""Forms of the administrators' arrival pages.

Knows fields only; what a source may be is the service's.
"""

from django import forms

from comparisons.models import ArrivalSource
from comparisons.web.manage_forms import PlainLabels

MOST_PLACES = 1_000_000


class NewSourceForm(PlainLabels, forms.Form):
    """Where people come from, what they are paid, and what they bring back."""

    platform = forms.ChoiceField(choices=ArrivalSource.Platform.choices)
    label = forms.CharField(max_length=80, help_text="For you: which study this is.")
    external_study_id = forms.RegexField(
        r"^[A-Za-z0-9_-]*$", label="Study or HIT id", max_length=80, required=False,
        help_text="Empty: any study or HIT that knows the address.",
    )  # fmt: skip
    completion_code = forms.RegexField(
        r"^[A-Za-z0-9_-]*$", label="Completion code", max_length=40, required=False,
        help_text="Prolific: as set in the study. Elsewhere, empty: a code of its own for each assignment.",
    )  # fmt: skip
    pay_amount = forms.DecimalField(
        label="Pay per assignment", min_value=0, max_digits=8, decimal_places=2
    )
    pay_currency = forms.RegexField(r"^[A-Z]{3}$", label="Currency", initial="USD")
    places = forms.IntegerField(
        min_value=1, max_value=MOST_PLACES, required=False, help_text="Empty: no limit here."
    )
    id_parameter = forms.RegexField(
        r"^[A-Za-z_][A-Za-z0-9_]*$", label="Parameter with the person's id", max_length=40,
        required=False, initial="id", help_text="Other platforms only.",
    )  # fmt: skip
    submission_parameter = forms.RegexField(
        r"^[A-Za-z_][A-Za-z0-9_]*$", label="Parameter with the submission's id", max_length=40,
        required=False, help_text="Other platforms only. Empty: one assignment per person.",
    )  # fmt: skip
    completion_url = forms.URLField(
        label="Address to go back to", max_length=300, required=False, assume_scheme="https",
        help_text="Other platforms only. {code} in it becomes the completion code.",
    )  # fmt: skip


class ChangeSourceForm(PlainLabels, forms.Form):
    """What may change while people arrive."""

    label = forms.CharField(max_length=80)
    completion_code = NewSourceForm.base_fields["completion_code"]
    pay_amount = forms.DecimalField(
        label="Pay per assignment", min_value=0, max_digits=8, decimal_places=2,
        help_text="Holds for those who arrive from now on.",
    )  # fmt: skip
    places = forms.IntegerField(
        min_value=1, max_value=MOST_PLACES, required=False, help_text="Empty: no limit here."
    )
    is_open = forms.BooleanField(label="Takes people on", required=False)
