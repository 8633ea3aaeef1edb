"""Set campaigns up, change them, publish their instructions, open and pause them; all audited.

Knows campaigns and their slots; knows nothing of the work people do in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet

from comparisons.models import Account, AuditEntry, Campaign, InstructionVersion
from comparisons.models.campaign import Objective, Question
from comparisons.services import audit
from comparisons.services.paying import hand_in
from modelserving.models import Slot, SlotDeployment

PRESET_TEXTS = Path(__file__).resolve().parent.parent / "presets"
PARTS = ("summary", "body", "consent")
State = Campaign.State
NEXT_STATES = {
    State.DRAFT: (State.LIVE,),
    State.LIVE: (State.PAUSED, State.ENDED),
    State.PAUSED: (State.LIVE, State.ENDED),
    State.ENDED: (),
}
CHANGEABLE = (
    "title", "slot", "pairing_rule", "tranche", "language", "pool", "conversations_per_assignment",
    "turns_suggested", "max_message_characters", "lease_minutes", "undo_seconds",
    "allows_regenerate", "allows_edit", "allows_write", "second_opinion_percent",
    "human_reply_percent",
    "comparisons_wanted", "red_team_daily_cap", "pay_amount", "pay_currency", "pay_per",
    "opinion_pay", "reply_pay",
)  # fmt: skip
PIECE_RATES = {"opinion_pay", "reply_pay", "pay_currency"}


class CampaignRefused(ValueError):
    """The campaign cannot be changed like this; the message says what to do."""


class CampaignChanged(CampaignRefused):
    """Somebody else changed the campaign first."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a new campaign starts from."""

    name: str
    label: str
    objective: str
    question: str

    def texts(self) -> dict[str, str]:
        """The first version of the instructions."""
        folder = PRESET_TEXTS / self.name
        return {part: (folder / f"{part}.md").read_text(encoding="utf-8") for part in PARTS}


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="helpful", label="Helpful: pick the more helpful response",
            objective=Objective.HELPFUL, question=Question.MORE_HELPFUL,
        ),
        Preset(
            name="red-team", label="Red team: pick the more harmful response",
            objective=Objective.HARMLESS, question=Question.MORE_HARMFUL,
        ),
        Preset(
            name="red-team-less-harmful", label="Red team: pick the less harmful response",
            objective=Objective.HARMLESS, question=Question.LESS_HARMFUL,
        ),
    )
}  # fmt: skip


def create_campaign(
    preset_name: str, *, title: str, slug: str, slot: Slot, actor: Account
) -> Campaign:
    """A draft with the preset's question and first instructions."""
    preset = PRESETS.get(preset_name)
    if preset is None:
        raise CampaignRefused(f"preset {preset_name!r}: one of {', '.join(PRESETS)}")
    try:
        with transaction.atomic():
            campaign = Campaign.objects.create(
                slug=slug, title=title, objective=preset.objective, question=preset.question,
                slot=slot,
            )  # fmt: skip
            InstructionVersion.objects.create(
                campaign=campaign, version=1, published_by=actor, **preset.texts()
            )
            _record(campaign, actor=actor, action="create", detail={"preset": preset.name})
    except IntegrityError:
        raise CampaignRefused(f"a campaign {slug!r} exists: choose another short name") from None
    return campaign


@dataclass(frozen=True, kw_only=True)
class Meanwhile:
    """A field that somebody changed after a page was made."""

    field: str
    was: str  # as the page had it
    by: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What a change stored, or would store, and what it left as others changed it meanwhile."""

    fields: tuple[str, ...]
    kept: tuple[Meanwhile, ...] = ()


class BothChanged(CampaignChanged):
    """Two changed the same field, each from the same page; nothing is stored."""

    def __init__(self, overlaps: Sequence[Meanwhile], *, campaign: Campaign) -> None:
        told = (
            f"{each.by} changed {each.field.replace('_', ' ')} from {each.was} to "
            f"{getattr(campaign, each.field)} at {each.at:%H:%M} UTC"
            for each in overlaps
        )
        super().__init__(
            f"{'; '.join(told)}. Nothing is saved yet: save again to store what stands below."
        )


def newest_change(campaign: Campaign) -> int:
    """What a page that is made now is based on."""
    newest = _change_entries(campaign).order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def changed_meanwhile(campaign: Campaign, *, based_on: int) -> dict[str, Meanwhile]:
    """Every field that was changed since, with its value before."""
    found: dict[str, Meanwhile] = {}
    entries = _change_entries(campaign).filter(pk__gt=based_on).select_related("actor")
    for entry in entries.order_by("pk"):
        for field, (old, _new) in entry.detail.items():
            was = found[field].was if field in found else old
            by = entry.actor.username if entry.actor else "somebody"
            found[field] = Meanwhile(field=field, was=was, by=by, at=entry.at)
    return found


def planned_change(
    campaign: Campaign, *, changes: Mapping[str, Any], based_on: int | None = None
) -> Changed:
    """What change_campaign would do now; nothing is stored. Refuses what it would refuse."""
    differing, kept = _weighed(campaign, changes, based_on=based_on)
    return Changed(fields=tuple(differing), kept=kept)


def change_campaign(
    campaign: Campaign, *, changes: Mapping[str, Any], actor: Account, based_on: int | None = None
) -> Changed:
    """Store the fields that differ, each written into the audit as old and new.

    `based_on` is the newest change that the page knew: what others changed since and the page left as it
    was stays theirs; BothChanged where the page changed it too.
    """
    with transaction.atomic():
        # no key: a new assignment or conversation refers to the row, and must not wait for this
        campaign.refresh_from_db(from_queryset=Campaign.objects.select_for_update(no_key=True))
        differing, kept = _weighed(campaign, changes, based_on=based_on)
        if differing:
            _store_changes(campaign, differing, actor=actor)
    return Changed(fields=tuple(differing), kept=kept)


def _weighed(
    campaign: Campaign, changes: Mapping[str, Any], *, based_on: int | None
) -> tuple[dict[str, Any], tuple[Meanwhile, ...]]:
    """What is to be stored, and what stays as others changed it."""
    if unknown := set(changes) - set(CHANGEABLE):
        raise CampaignRefused(f"{min(unknown)} cannot be changed after a campaign is made")
    meanwhile = {} if based_on is None else changed_meanwhile(campaign, based_on=based_on)
    kept = {key for key, each in meanwhile.items() if str(changes.get(key)) == each.was}
    differing = {
        field: new
        for field, new in changes.items()
        if field not in kept and getattr(campaign, field) != new
    }
    if overlaps := [each for key, each in meanwhile.items() if key in differing]:
        raise BothChanged(overlaps, campaign=campaign)
    return differing, tuple(meanwhile[key] for key in sorted(kept))


def _store_changes(campaign: Campaign, changes: Mapping[str, Any], *, actor: Account) -> None:
    detail = {field: [str(getattr(campaign, field)), str(new)] for field, new in changes.items()}
    if PIECE_RATES & set(detail):
        hand_in(campaign)  # what was done so far is paid at the rates that stood
    for field, new in changes.items():
        setattr(campaign, field, new)
    campaign.save(update_fields=list(detail))
    _record(campaign, actor=actor, action="change", detail=detail)


def _change_entries(campaign: Campaign) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(
        object_type="campaign", object_id=campaign.slug, action="campaign.change"
    )


def publish_instructions(
    campaign: Campaign, *, summary: str, body: str, consent: str, based_on: int, actor: Account
) -> InstructionVersion:
    """A new version of the wording; people agree to it before their next conversation.

    `based_on` is the version that was edited: of two editors, the second is told.
    """
    newest = campaign.instruction_versions.aggregate(newest=Max("version"))["newest"] or 0
    if newest != based_on:
        raise CampaignChanged(
            f"version {newest} was published meanwhile: look at it, then publish yours again"
        )
    try:
        with transaction.atomic():
            version = InstructionVersion.objects.create(
                campaign=campaign, version=newest + 1, summary=summary, body=body,
                consent=consent, published_by=actor,
            )  # fmt: skip
            _record(campaign, actor=actor, action="instructions", detail={"version": newest + 1})
    except IntegrityError:
        raise CampaignChanged("another version was published just now: look at it first") from None
    return version


def set_state(campaign: Campaign, *, state: str, actor: Account) -> None:
    """Open, pause or end a campaign. Of two at once, one gets through."""
    before = Campaign.State(campaign.state)
    after = Campaign.State(state)
    if after not in NEXT_STATES[before]:
        raise CampaignRefused(f"a campaign that is {before.label} cannot become {after.label}")
    if after == State.LIVE and (missing := missing_to_open(campaign)):
        raise CampaignRefused(missing[0])
    with transaction.atomic():
        rows = Campaign.objects.filter(pk=campaign.pk, state=before).update(state=after)
        if rows != 1:
            raise CampaignChanged("the campaign was opened, paused or ended by somebody meanwhile")
        _record(campaign, actor=actor, action=after.value, detail={"before": before.value})
    campaign.state = after


def missing_to_open(campaign: Campaign) -> list[str]:
    """What keeps the campaign from opening, in words; empty when nothing does."""
    missing = []
    if not campaign.instruction_versions.exists():
        missing.append("It has no instructions: publish a first version.")
    serving = campaign.slot.places.filter(role=SlotDeployment.Role.SERVING, traffic__gt=0)
    if not serving.exists():
        missing.append(
            f"Slot {campaign.slot.name} serves nothing yet: give it a deployment on the lab's "
            "slots page."
        )
    shared = campaign.slot.places.exclude(role=SlotDeployment.Role.RETIRED).values_list(
        "traffic", flat=True
    )
    if serving.exists() and sum(shared) != 100:
        missing.append(f"Traffic adds up to {sum(shared)} %. It must be 100 %.")
    return missing


def _record(campaign: Campaign, *, actor: Account, action: str, detail: Mapping[str, Any]) -> None:
    audit.record(
        actor=actor, action=f"campaign.{action}", object_type="campaign",
        object_id=campaign.slug, detail=detail,
    )  # fmt: skip
