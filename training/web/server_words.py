"""What a model server counted and what a checkpoint in it is for, in words that staff read without its code.

Knows the server's names for counters and errors, and slots; a name that is not known here stands as it came.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from modelserving.models import Checkpoint, SlotDeployment

ERRORS = "errors_"
DONE = {
    "requests": gettext_lazy("requests"),
    "tokens_generated": gettext_lazy("tokens written"),
    "dialogues_scored": gettext_lazy("dialogues scored"),
    "checkpoints_loaded": gettext_lazy("checkpoints loaded"),
    "checkpoints_unloaded": gettext_lazy("checkpoints unloaded"),
}
WRONG = {
    "full": gettext_lazy("told to come back, because too many waited"),
    "missing": gettext_lazy(
        "for a checkpoint that was not loaded (whoever asks has it loaded, then)"
    ),
    "refused": gettext_lazy("to load a checkpoint whose files are not what they should be"),
    "request": gettext_lazy("that the server could not honour as they were"),
    "secret": gettext_lazy("with a wrong secret"),
    "memory": gettext_lazy("that found no memory"),
    "late": gettext_lazy("that took too long"),
    "number": gettext_lazy("that came to something that is not a number"),
    "stuck": gettext_lazy("whether it is ready, when it was not"),
    "used": gettext_lazy("to unload what other checkpoints need"),
    "broken": gettext_lazy("that failed inside the server (its log says why)"),
}
CAUSE_OF = {
    "queue_full": "full", "model_not_loaded": "missing", "wrong_secret": "secret",
    "checkpoint_refused": "refused", "other_checkpoint": "refused", "outside_roots": "refused",
    "no_such_directory": "refused", "no_base": "refused", "not_finite": "number", "not_rankable": "number",
    "out_of_memory": "memory", "memory_budget": "memory", "deadline": "late", "body_too_slow": "late",
    "engine_stuck": "stuck", "engine_failing": "stuck", "base_in_use": "used", "engine_failed": "broken",
    "internal_error": "broken", "invalid_value": "request", "invalid_json": "request",
    "invalid_dialogue": "request", "unsupported": "request", "wrong_checkpoint_kind": "request",
    "context_length_exceeded": "request", "body_too_large": "request", "name_taken": "request",
    "no_such_route": "request",
}  # fmt: skip
# counted as errors by their code, too
COUNTED_TWICE = {"requests_refused", "engine_failures"}

Counted = tuple[int, Any]


def done(counts: Mapping[str, int]) -> list[Counted]:
    """What the server did since it started: numbers with their words, in the order of `DONE`."""
    return [(counts[name], words) for name, words in DONE.items() if counts.get(name)]


def wrong(counts: Mapping[str, int]) -> list[Counted]:
    """What went wrong since then, the most frequent first."""
    found: Counter[str] = Counter()
    for name, count in counts.items():
        if name not in DONE and name not in COUNTED_TWICE:
            code = name.removeprefix(ERRORS)
            found[CAUSE_OF.get(code, code)] += count
    return [
        (count, WRONG.get(cause, cause.replace("_", " "))) for cause, count in found.most_common()
    ]


def uses(checkpoints: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By hash, what each loaded checkpoint is for: where it serves, whom it ranks, what is added to it."""
    loaded = list(checkpoints)
    found: dict[str, list[str]] = {str(each.get("hash")): [] for each in loaded}
    places = SlotDeployment.objects.filter(traffic__gt=0).select_related(
        "slot", "deployment__checkpoint", "deployment__ranker"
    )
    for place in places:
        words = {"role": place.get_role_display(), "slot": place.slot.name}
        policy, ranker = place.deployment.checkpoint, place.deployment.ranker
        if policy is not None and policy.hash in found:
            found[policy.hash].append(_("%(role)s in %(slot)s") % words)
        if ranker is not None and ranker.hash in found:
            found[ranker.hash].append(_("ranker in %(slot)s") % words)
    for identity, count in Counter(each["base"] for each in loaded if each.get("base")).items():
        said = ngettext("base of %(n)d adapter here", "base of %(n)d adapters here", count)
        found.setdefault(str(identity), []).append(said % {"n": count})
    return found


def goes_on(refused: Checkpoint) -> str:
    """Which deployments serve on although this checkpoint was refused."""
    names = sorted(
        SlotDeployment.objects.filter(role=SlotDeployment.Role.SERVING)
        .exclude(deployment__checkpoint=refused)
        .values_list("deployment__name", flat=True)
        .distinct()
    )
    if not names:
        return ""
    words = {"names": ", ".join(names)}
    return ngettext("%(names)s goes on serving.", "%(names)s go on serving.", len(names)) % words
