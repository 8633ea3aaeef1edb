"""Make the demo: one account for each role, two campaigns with their slots, sample comparisons.

Knows the services that make such things; run again, it makes only what is missing.
"""

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.db import transaction

from comparisons.models import Account, Campaign, InstructionVersion
from comparisons.models.campaign import Objective, Question, Tranche
from comparisons.services import accounts, audit, onboarding
from comparisons.services.campaigns import PRESETS
from comparisons.services.importing import import_hh
from modelserving import registry
from modelserving.deployments import create_deployment
from modelserving.models import Checkpoint, Deployment, Slot
from modelserving.promotion import ensure_slot, put_on_trial

HERE = Path(__file__).parent
ACCOUNTS_FILE = "demo-accounts.txt"
PEOPLE = {
    "casey": Account.Role.CROWDWORKER,
    "rowan": Account.Role.RESEARCHER,
    "alex": Account.Role.ADMINISTRATOR,
}
CAMPAIGNS = (
    {
        "slug": "helpful",
        "title": "Talk to the assistant",
        "objective": Objective.HELPFUL,
        "question": Question.MORE_HELPFUL,
    },
    {
        "slug": "red-team",
        "title": "Find what goes wrong",
        "objective": Objective.HARMLESS,
        "question": Question.MORE_HARMFUL,
    },
)
SAMPLES = {"helpful.jsonl": Objective.HELPFUL, "harmless.jsonl": Objective.HARMLESS}


def make_demo() -> list[str]:
    """Everything that is missing; returns lines that tell the person how to get in."""
    lines = _make_people()
    steady, lively = _make_deployments(registry.ensure_starter())
    for wanted in CAMPAIGNS:
        slot = _make_slot(str(wanted["slug"]), serving=steady, trial=lively)
        _make_campaign(slot=slot, **wanted)
    for name, objective in SAMPLES.items():
        with (HERE / name).open("rb") as rows:
            import_hh(rows, objective=objective, tranche=Tranche.BASE, source=f"demo/{name}")
    return lines


def _make_people() -> list[str]:
    known = set(Account.objects.filter(username__in=PEOPLE).values_list("username", flat=True))
    missing = {name: role for name, role in PEOPLE.items() if name not in known}
    path = Path(settings.VAR) / ACCOUNTS_FILE
    if not missing:
        return [f"demo accounts: see {path}"]
    passwords = {name: secrets.token_urlsafe(12) for name in missing}
    for name, role in missing.items():
        account = accounts.create_account(username=name, role=role, password=passwords[name])
        if role == Account.Role.CROWDWORKER:
            onboarding.make_crowdworker(account)
    lines = [f"  {role:<13}  {name}  {passwords[name]}" for name, role in missing.items()]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as stream:
        stream.write("\n".join(lines) + "\n")
    return [f"demo accounts, shown once and kept in {path}:", *lines]


def _make_deployments(starter: Checkpoint) -> tuple[Deployment, Deployment]:
    """The starter twice, so that there is something to compare."""
    steady = Deployment.objects.filter(name="Starter, steady").first() or create_deployment(
        name="Starter, steady", checkpoint=starter, temperature=0.6, top_p=0.95, max_new_tokens=96
    )
    lively = Deployment.objects.filter(name="Starter, lively").first() or create_deployment(
        name="Starter, lively", checkpoint=starter, temperature=1.0, top_p=1.0, max_new_tokens=96
    )
    return steady, lively


def _make_slot(name: str, *, serving: Deployment, trial: Deployment) -> Slot:
    slot = ensure_slot(name, deployment=serving)
    if slot.generation == 1:  # just made: nobody decided anything about it yet
        with transaction.atomic():
            put_on_trial(slot, trial, traffic=50, expected_generation=1, reason="demo")
            audit.record(
                actor=None, action="slot.trial", object_type="slot", object_id=slot.pk,
                detail={"deployment": trial.name, "generation": 2, "reason": "demo"},
            )  # fmt: skip
    return slot


def _make_campaign(*, slug: str, title: str, objective: str, question: str, slot: Slot) -> None:
    campaign, _is_new = Campaign.objects.get_or_create(
        slug=slug,
        defaults={
            "title": title,
            "objective": objective,
            "question": question,
            "slot": slot,
            "state": Campaign.State.LIVE,
        },
    )
    InstructionVersion.objects.get_or_create(
        campaign=campaign,
        version=1,
        defaults=PRESETS[slug].texts(),
    )
