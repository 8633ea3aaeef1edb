"""What the lab's forms accept.

Knows fields and limits; every decision beyond them is a service's.
"""

import json
import re
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from comparisons.models import DatasetRelease
from comparisons.queries.imports import sources_by_label
from modelserving.models import Checkpoint, Deployment, Slot, SlotDeployment
from training import queries, question_sets
from training.config import choices_of, presets, to_dict
from training.iterations import LoopSettings
from training.models import TrainingRun
from training.services import TAKES_SCORERS, RunRequest
from training.web.topics import by_topic

SETTING = "set:"  # prefix of the fields that hold the configuration's own values

NAMED_BY = (  # which field a refusal speaks of, the first that fits
    ("initial_checkpoint", "start from"),
    ("test_pm", "test PM"),
    ("ranker", "ranker|preference model"),
    ("questions", "[Qq]uestion"),
    ("release", "[Rr]elease"),
)


class NewRunForm(forms.Form):
    """A run of one kind: preset, inputs, and the settings that differ from the preset."""

    kind = forms.ChoiceField(choices=TrainingRun.Kind, widget=forms.HiddenInput)
    request_key = forms.UUIDField(widget=forms.HiddenInput)
    preset = forms.ChoiceField(label=_("Preset"))
    name = forms.CharField(label=_("Name"), max_length=120, required=False)
    release = forms.ModelChoiceField(
        DatasetRelease.objects.none(), label=_("Release"), required=False
    )
    initial_checkpoint = forms.ModelChoiceField(
        Checkpoint.objects.none(),
        label=_("Start from"),
        required=False,
        empty_label=_("the starter checkpoint"),
    )
    ranker = forms.ModelChoiceField(
        Checkpoint.objects.none(),
        label=_("Preference model"),
        required=False,
        empty_label=_("the newest"),
    )
    test_pm = forms.ModelChoiceField(
        Checkpoint.objects.none(),
        label=_("Held-out preference model"),
        required=False,
        empty_label=_("none"),
    )
    questions = forms.ChoiceField(label=_("Question set"), required=False)

    def __init__(
        self, *args: Any, kind: str, typed: dict[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        self.kind, self.offered = kind, presets(kind)
        self.typed = typed or {}
        self.refused = self.rest_of_refusal = ""
        fields: dict[str, Any] = self.fields
        fields["kind"].initial = kind
        fields["preset"].choices = [(name, name) for name in self.offered]
        fields["release"].queryset = DatasetRelease.objects.filter(
            state=DatasetRelease.State.FROZEN, stale_at__isnull=True
        )
        fields["release"].initial = fields["release"].queryset.order_by("-pk").first()
        fields["ranker"].queryset = fields["test_pm"].queryset = queries.preference_models()
        starts = Checkpoint.objects.all() if kind in TAKES_SCORERS else queries.speaking_models()
        fields["initial_checkpoint"].queryset = queries.without_the_starter(starts)
        if kind not in {"ppo", "best_of_k", "evaluation"}:
            del self.fields["ranker"]
        if kind != "ppo":
            del self.fields["test_pm"]
        fields["questions"].choices = [
            ("", _("none")),
            *((each, each) for each in question_sets.names()),
        ]
        if kind != "evaluation":
            del self.fields["questions"]

    def settings(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        """Each setting of the kind with every preset's value and what was typed, by topic."""
        offered = {name: to_dict(preset) for name, preset in self.offered.items()}
        shown = next(iter(offered.values()))
        choices = choices_of(shown["kind"])
        rows = []
        for label, value in shown.items():
            if label == "kind":
                continue
            name, is_json = f"{SETTING}{label}", isinstance(value, dict | list)
            typed = self._sent(name) if name in self.data else self.typed.get(label, "")
            usual = {preset: _in_words(values[label]) for preset, values in offered.items()}
            rows.append(
                {
                    "name": name,
                    "label": label,
                    "usual": _of_every_preset(usual),
                    "usual_json": json.dumps(usual),
                    "is_json": is_json,
                    "typed": typed,
                    "is_refused": label == self.refused,
                    "choices": choices.get(label, ()),
                    "ticked": re.findall(r"\w+", typed) if isinstance(value, list) else [typed],
                }
            )
        return by_topic(rows)

    def chosen(self) -> RunRequest:
        """The run as the fields stand, sent or not; what is no choice counts as none."""
        found: dict[str, Any] = {}
        for name, field in self.fields.items():
            try:
                found[name] = field.to_python(self[name].value())
            except forms.ValidationError:
                found[name] = None
        return RunRequest(
            kind=self.kind, preset=found["preset"] or next(iter(self.offered)), overrides=self.overrides() or self.typed,
            release=found["release"], initial=found["initial_checkpoint"], ranker=found.get("ranker"),
            test_pm=found.get("test_pm"), questions=found.get("questions") or "",
            name=found["name"] or "", request_key=found["request_key"],
        )  # fmt: skip

    def refuse(self, refusal: str) -> None:
        """Keep why the run was refused, at the field or setting that the words name."""
        first = re.split(r"\W", refusal, maxsplit=1)[0]
        if first in to_dict(next(iter(self.offered.values()))):
            self.refused, self.rest_of_refusal = first, refusal.removeprefix(first)
            return
        named = (
            name for name, said in NAMED_BY if name in self.fields and re.search(said, refusal)
        )
        self.add_error(next(named, None), refusal)

    def overrides(self) -> dict[str, str]:
        """The settings that were typed or ticked."""
        sent = {name: self._sent(name) for name in self.data if name.startswith(SETTING)}
        return {name.removeprefix(SETTING): value for name, value in sent.items() if value}

    def _sent(self, name: str) -> str:
        """What came under this name; of several ticks, their words between commas."""
        values = self.data.getlist(name) if isinstance(self.data, QueryDict) else [self.data[name]]
        return ",".join(word for value in values if (word := str(value).strip()))


def _in_words(value: Any) -> str:
    """A setting's value as one would type it."""
    is_plain = not isinstance(value, bool | dict | list)
    return str(value) if is_plain else json.dumps(value)


def _of_every_preset(usual: dict[str, str]) -> str:
    """The value of each preset by name, or the one value that all have."""
    values = set(usual.values())
    return values.pop() if len(values) == 1 else " · ".join(f"{k}: {v}" for k, v in usual.items())


class DeploymentForm(forms.Form):
    """A checkpoint with sampling settings and an optional ranker."""

    name = forms.CharField(label=_("Name"), max_length=120)
    temperature = forms.FloatField(label=_("Temperature"), initial=1.0, min_value=0, max_value=10)
    top_p = forms.FloatField(label=_("Top-p"), initial=1.0, min_value=0.01, max_value=1)
    max_new_tokens = forms.IntegerField(
        label=_("Longest response, tokens"), initial=128, min_value=1
    )
    ranker = forms.ModelChoiceField(
        Checkpoint.objects.none(),
        label=_("Ranker"),
        required=False,
        empty_label=_("none: one sample"),
    )
    best_of = forms.IntegerField(label=_("Best of"), initial=1, min_value=1, max_value=64)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        fields: dict[str, Any] = self.fields
        fields["ranker"].queryset = queries.preference_models()


class TrialForm(forms.Form):
    """A share of a slot's traffic for a deployment."""

    slot = forms.ModelChoiceField(
        Slot.objects.all(), label=_("Slot"), empty_label=_("choose a slot")
    )
    traffic = forms.IntegerField(
        label=_("Share of traffic, percent"), initial=30, min_value=1, max_value=99
    )
    reason = forms.CharField(label=_("Reason"), required=False, max_length=400)

    def __init__(self, *args: Any, deployment: Deployment | None = None, **kwargs: Any) -> None:
        """Of a deployment only the slots are offered that it takes no part in yet."""
        super().__init__(*args, **kwargs)
        if deployment is not None:
            part = deployment.places.exclude(role=SlotDeployment.Role.RETIRED)
            slots: Any = self.fields["slot"]
            slots.queryset = Slot.objects.exclude(pk__in=part.values("slot"))


class PromotionForm(forms.Form):
    """Promote or roll back what the person saw: `generation` says which state that was."""

    generation = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    reason = forms.CharField(label=_("Reason"), required=False, max_length=400)
    is_forced = forms.BooleanField(required=False)


class TrafficForm(forms.Form):
    """Percent of the sides drawn for each deployment of a slot that is not retired."""

    generation = forms.IntegerField(min_value=0)
    reason = forms.CharField(required=False, max_length=400)

    def __init__(self, *args: Any, slot: Slot, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        active = slot.places.exclude(role=SlotDeployment.Role.RETIRED)
        self.deployments = list(active.values_list("deployment_id", flat=True))
        for key in self.deployments:
            self.fields[f"traffic-{key}"] = forms.IntegerField(min_value=0, max_value=100)

    def shares(self) -> dict[int, int]:
        """Percent by deployment."""
        return {key: self.cleaned_data[f"traffic-{key}"] for key in self.deployments}


class IterationForm(forms.Form):
    """What the next iteration of the online loop is to do."""

    slot = forms.ModelChoiceField(Slot.objects.all(), label=_("Slot"))
    fewest_new = forms.IntegerField(
        label=_("New comparisons before it starts"), initial=LoopSettings.fewest_new, min_value=0
    )
    pm_preset = forms.ChoiceField(label=_("Preset of the preference model"))
    policy_preset = forms.ChoiceField(label=_("Preset of the policies"))
    policies = forms.IntegerField(label=_("Policies"), initial=1, min_value=1, max_value=5)
    trial_percent = forms.IntegerField(
        label=_("Traffic of each trial, percent"),
        initial=LoopSettings.trial_percent,
        min_value=1,
        max_value=30,
    )
    promotes_by_itself = forms.BooleanField(
        label=_("Promote by itself when every condition is met"), required=False
    )

    without_sources = forms.MultipleChoiceField(
        label=_("Leave out imports"), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        fields: dict[str, Any] = self.fields
        for name, kind in (("pm_preset", "preference_model"), ("policy_preset", "ppo")):
            fields[name].choices = [(preset, preset) for preset in presets(kind)]
        sources = sources_by_label()
        fields["without_sources"].choices = sources
        if not sources:
            del fields["without_sources"]

    def wanted(self) -> LoopSettings:
        """The loop's settings that were asked for."""
        given = {
            key: value
            for key, value in self.cleaned_data.items()
            if key not in {"slot", "policies", "without_sources"}
        }
        return LoopSettings(
            policy_seeds=tuple(range(self.cleaned_data["policies"])),
            without_sources=tuple(self.cleaned_data.get("without_sources", ())),
            **given,
        )
