"""How a person arrives and takes work on: invitation, consent, assignment.

Knows people, campaigns and assignments; knows nothing of what is said inside.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.models import (
    Account,
    ArrivalSource,
    Assignment,
    Campaign,
    ConsentRecord,
    Crowdworker,
    InstructionVersion,
    Invitation,
)
from comparisons.models.campaign import Origin
from comparisons.queries.work import pay_rule_of
from comparisons.services import audit, qualifying
from comparisons.services.accounts import create_account
from comparisons.services.arrival_ids import external_id_hash
from comparisons.services.assignment_ends import give_back
from comparisons.services.assignment_states import move, record_opening
from comparisons.services.drawing import current_instructions

LETTERS = "abcdefghjkmnpqrstuvwxyz"


class OnboardingRefused(Exception):
    """The step cannot be taken; the message says what to do."""


class InvitationInvalid(OnboardingRefused):
    """The code is unknown, used up or too old."""


class ConsentNeeded(OnboardingRefused):
    """The current instructions were not read and accepted yet."""


class PracticeNeeded(OnboardingRefused):
    """The campaign's practice comparisons were not passed yet."""


class NoWork(OnboardingRefused):
    """The campaign takes nobody on just now, or not this person."""


def hash_of_code(code: str) -> str:
    """What is kept of an invitation code."""
    return sha256(code.strip().encode()).hexdigest()


def make_invitation(
    *,
    label: str,
    pool: str = "general",
    uses: int = 1,
    expires_at: datetime | None = None,
    created_by: Account | None = None,
) -> str:
    """A new invitation; its code is returned now and kept only as a hash."""
    code = secrets.token_urlsafe(12)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            code_sha256=hash_of_code(code),
            label=label,
            pool=pool,
            uses_left=uses,
            expires_at=expires_at,
            created_by=created_by,
        )
        audit.record(
            actor=created_by, action="invitation.create", object_type="invitation",
            object_id=invitation.pk, detail={"label": label, "pool": pool, "uses": uses},
        )  # fmt: skip
    return code


def usable_invitation(code: str) -> Invitation | None:
    """The invitation behind a code while it still works."""
    valid = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return Invitation.objects.filter(valid, code_sha256=hash_of_code(code), uses_left__gt=0).first()


def sign_up(code: str, *, username: str, password: str) -> Crowdworker:
    """An account and its crowdworker from an invitation; of two at its last use, one gets in."""
    with transaction.atomic():
        invitation = usable_invitation(code)
        taken = invitation is not None and Invitation.objects.filter(
            pk=invitation.pk, uses_left__gt=0
        ).update(uses_left=F("uses_left") - 1)
        if invitation is None or not taken:
            raise InvitationInvalid(_("This invitation was used or is too old. Ask for a new one."))
        account = create_account(
            username=username, role=Account.Role.CROWDWORKER, password=password
        )
        return make_crowdworker(account, pool=invitation.pool)


def make_crowdworker(
    account: Account,
    *,
    pool: str = "general",
    platform: str = Crowdworker.Platform.DIRECT,
    external_id: str = "",
) -> Crowdworker:
    """The profile of an account, under a pseudonym that says nothing about the person."""
    hashed = external_id_hash(platform=platform, external_id=external_id) if external_id else ""
    while True:
        try:
            with transaction.atomic():
                return Crowdworker.objects.create(
                    account=account,
                    pseudonym=new_pseudonym(),
                    pool=pool,
                    platform=platform,
                    external_id_hash=hashed,
                )
        except IntegrityError:
            if Crowdworker.objects.filter(account=account).exists():
                raise
            if hashed and Crowdworker.objects.filter(external_id_hash=hashed).exists():
                raise


def new_pseudonym(choose: Callable[[str], str] = secrets.choice) -> str:
    """Two letters and four digits, such as kx-3141."""
    return f"{choose(LETTERS)}{choose(LETTERS)}-{secrets.randbelow(10_000):04d}"


def origin_of(crowdworker: Crowdworker) -> str:
    """Simulated people are marked at the source, so their choices never pass for the crowd's."""
    is_simulated = crowdworker.platform == Crowdworker.Platform.SIMULATED
    return Origin.SIMULATED if is_simulated else Origin.CROWD


def may_see(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """The campaign is for this person's pool."""
    return not campaign.pool or campaign.pool == crowdworker.pool


def has_consented(crowdworker: Crowdworker, version: InstructionVersion | None) -> bool:
    """The person accepted this wording; nothing published needs no consent."""
    return version is None or crowdworker.consents.filter(instruction_version=version).exists()


def check_active(crowdworker: Crowdworker) -> None:
    """Refuse a person who withdrew or is suspended; for a decision that must hold, with the row held."""
    if crowdworker.standing == Crowdworker.Standing.WITHDRAWN:
        raise NoWork(_("You have withdrawn. Your texts were removed."))
    if crowdworker.standing != Crowdworker.Standing.ACTIVE:
        raise NoWork(_("Your work here is paused. What you finished stays yours."))


def check_may_work(crowdworker: Crowdworker, campaign: Campaign) -> None:
    """Refuse work that is paused, elsewhere, or not agreed to yet."""
    check_active(crowdworker)
    if campaign.state != Campaign.State.LIVE:
        raise NoWork(_("This campaign takes no new messages just now."))
    if not may_see(crowdworker, campaign):
        raise NoWork(_("This campaign is for another group."))
    if not has_consented(crowdworker, current_instructions(campaign)):
        raise ConsentNeeded(_("The instructions are new. Read and accept them first."))
    if qualifying.comes_first(crowdworker, campaign):
        raise PracticeNeeded(_("A few practice comparisons come first."))


def open_assignment(crowdworker: Crowdworker, campaign: Campaign) -> Assignment:
    """The person's open assignment in the campaign, or a new one."""
    check_active(crowdworker)
    standing = open_assignment_of(crowdworker, campaign)
    if standing:
        if standing.state == Assignment.State.PREVIEW:
            move(standing, to=_first_state(crowdworker, campaign), actor=crowdworker.account)
        return _past_practice(standing)
    if crowdworker.platform in ArrivalSource.Platform:
        raise NoWork(_("Take this work on where you found it: each time, it starts from there."))
    if campaign.state != Campaign.State.LIVE or not may_see(crowdworker, campaign):
        raise NoWork(_("No work here right now."))
    if qualifying.is_closed(crowdworker, campaign):
        raise PracticeNeeded(
            _("So this work stays closed for now. It says nothing about your other work here.")
        )
    state = _first_state(crowdworker, campaign)
    try:
        return make_assignment(crowdworker, campaign, state=state, pay_rule=pay_rule_of(campaign))
    except IntegrityError:  # another tab opened it first
        return Assignment.objects.get(
            crowdworker=crowdworker, campaign=campaign, state__in=Assignment.OPEN_STATES
        )


def make_assignment(
    crowdworker: Crowdworker,
    campaign: Campaign,
    *,
    state: str,
    pay_rule: dict[str, str],
    **values: str,
) -> Assignment:
    """A new row with its lease; a constraint refuses a second open one."""
    with transaction.atomic():
        check_active(Crowdworker.objects.select_for_update().get(pk=crowdworker.pk))
        assignment = Assignment.objects.create(
            crowdworker=crowdworker,
            campaign=campaign,
            state=state,
            conversations_required=campaign.conversations_per_assignment,
            pay_rule=pay_rule,
            lease_until=Now() + timedelta(minutes=campaign.lease_minutes),
            counted_since=Now(),
            **values,
        )
        assignment.refresh_from_db(fields=["lease_until", "counted_since"])
        record_opening(assignment, actor=crowdworker.account)
    return assignment


def _first_state(crowdworker: Crowdworker, campaign: Campaign) -> str:
    """Consent, until the wording in force was accepted."""
    if has_consented(crowdworker, current_instructions(campaign)):
        return state_after_consent(crowdworker, campaign)
    return Assignment.State.CONSENT


def state_after_consent(crowdworker: Crowdworker, campaign: Campaign) -> str:
    """What follows once the wording is accepted: the practice, or the work."""
    is_new = qualifying.is_needed(crowdworker, campaign)
    return Assignment.State.TRAINING if is_new else Assignment.State.WORK


def _past_practice(assignment: Assignment) -> Assignment:
    """An assignment that waited for practice goes on where none is asked for any more."""
    is_waiting = assignment.state == Assignment.State.TRAINING
    if is_waiting and not qualifying.is_needed(assignment.crowdworker, assignment.campaign):
        move(assignment, to=Assignment.State.WORK, actor=assignment.crowdworker.account)
    return assignment


def open_assignment_of(crowdworker: Crowdworker, campaign: Campaign) -> Assignment | None:
    """The open assignment, unless its lease ran out just now."""
    open_ones = crowdworker.assignments.filter(campaign=campaign, state__in=Assignment.OPEN_STATES)
    if overdue := open_ones.filter(lease_until__lt=Now()).first():
        give_back(overdue, only_overdue=True, reason="lease over")  # unless another tab keeps it
    return open_ones.first()


def give_consent(crowdworker: Crowdworker, version: InstructionVersion) -> None:
    """Record that this wording was read and accepted; work that waited for it opens."""
    ConsentRecord.objects.get_or_create(crowdworker=crowdworker, instruction_version=version)
    for waiting in crowdworker.assignments.filter(
        campaign_id=version.campaign_id,
        state__in=(Assignment.State.PREVIEW, Assignment.State.CONSENT),
    ).select_related("campaign"):
        after = state_after_consent(crowdworker, waiting.campaign)
        move(waiting, to=after, actor=crowdworker.account)
