"""A person arrives from another platform: who they are, whether there is a place, what they take on.

Knows each platform's parameters; the person's own id lives in a Visit and is stored as a hash only.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from comparisons.models import Account, Arrival, ArrivalSource, Assignment, Campaign, Crowdworker
from comparisons.services import assignment_ends, onboarding
from comparisons.services.accounts import create_account
from comparisons.services.arrival_ids import crowdworker_from

Platform = ArrivalSource.Platform
PERSON_ID = re.compile(r"[A-Za-z0-9_.@:+-]{1,128}")
SHORT_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
NUMBERED = (Platform.PROLIFIC, Platform.MTURK)  # no two submissions there have one id
NOT_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"  # MTurk's word for looking without accepting
SUBMIT_PATH = "/mturk/externalSubmit"


class ArrivalRefused(onboarding.OnboardingRefused):
    """The address does not fit the source; the message says what to do."""


class NoPlace(ArrivalRefused):
    """The source is closed or full."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What the platform's address says about one arrival."""

    person_id: str = field(default="", repr=False)
    study_id: str = ""
    submission_id: str = ""
    submit_to: str = ""

    @property
    def is_preview(self) -> bool:
        """Somebody looks without having taken the work."""
        return not self.person_id or self.submission_id == NOT_ACCEPTED


def names_of(source: ArrivalSource) -> tuple[str, str, str]:
    """The parameters of the person, the study and the submission in this source's address."""
    if source.platform == Platform.PROLIFIC:
        return "PROLIFIC_PID", "STUDY_ID", "SESSION_ID"
    if source.platform == Platform.MTURK:
        return "workerId", "hitId", "assignmentId"
    return source.id_parameter, "", source.submission_parameter


def visit_of(source: ArrivalSource, parameters: Mapping[str, str]) -> Visit:
    """Read the platform's parameters; refuse what does not look like its ids."""
    person, study, submission = (
        parameters.get(name, "").strip() if name else "" for name in names_of(source)
    )
    if not person or "{" in person or submission == NOT_ACCEPTED:
        return Visit(study_id=study, submission_id=submission)
    has_ids = PERSON_ID.fullmatch(person) and all(
        SHORT_ID.fullmatch(each) for each in (study, submission) if each
    )
    needs_submission = bool(names_of(source)[2])
    if not has_ids or (needs_submission and not submission):
        raise ArrivalRefused(
            _("This address is not complete. Open the work again where you found it.")
        )
    if source.external_study_id and study != source.external_study_id:
        raise ArrivalRefused(_("This address belongs to another study. Open the one you took."))
    submit_to = ""
    if source.platform == Platform.MTURK:
        submit_to = submit_origin(parameters.get("turkSubmitTo", ""))
    return Visit(
        person_id=person, study_id=study or str(source.public_id), submission_id=submission,
        submit_to=submit_to,
    )  # fmt: skip


def submit_origin(turk_submit_to: str) -> str:
    """The one of MTurk's hosts that takes the form; nothing else is ever posted to."""
    origin = turk_submit_to.strip().removesuffix(SUBMIT_PATH).rstrip("/")
    if origin not in settings.MTURK_HOSTS:
        raise ArrivalRefused(_("This address is not one of MTurk's. Open the work again there."))
    return origin


def arrive(source: ArrivalSource, visit: Visit) -> Assignment:
    """The assignment of this visit: the one it began before, or a new one with a place of its own."""
    if visit.is_preview:
        raise ArrivalRefused(_("This is a preview. Take the work first, then start."))
    with transaction.atomic():
        locked = ArrivalSource.objects.select_for_update().get(pk=source.pk)  # counts its places
        campaign = locked.campaign
        person = _person(locked, visit, campaign=campaign)
        person = Crowdworker.objects.select_for_update().get(pk=person.pk)  # may arrive elsewhere
        begun = _begun_before(locked, visit, person=person)
        if begun is not None:
            return begun
        _check_place(locked, person=person, campaign=campaign)
        standing = onboarding.open_assignment_of(person, campaign)
        if standing is not None:
            assignment_ends.give_back(standing, reason="taken anew")
        try:
            with transaction.atomic():
                return _take_on(locked, visit, person=person, campaign=campaign)
        except IntegrityError:  # the same submission came through another source just now
            begun = _begun_before(locked, visit, person=person)
            if begun is None:
                raise
            return begun


def _person(source: ArrivalSource, visit: Visit, *, campaign: Campaign) -> Crowdworker:
    """Who has this id, or a new account that can be entered from the platform alone."""
    known = crowdworker_from(platform=source.platform, external_id=visit.person_id)
    if known is not None:
        return known
    if not source.is_open:
        raise NoPlace(_("This work takes nobody on any more."))
    try:
        with transaction.atomic():
            account = create_account(
                username=f"{source.platform}-{secrets.token_hex(6)}",
                role=Account.Role.CROWDWORKER,
            )
            return onboarding.make_crowdworker(
                account,
                pool=campaign.pool or "general",
                platform=source.platform,
                external_id=visit.person_id,
            )
    except IntegrityError:  # two tabs arrived at once: the first one's account is the one
        known = crowdworker_from(platform=source.platform, external_id=visit.person_id)
        if known is None:
            raise
        return known


def _begun_before(source: ArrivalSource, visit: Visit, *, person: Crowdworker) -> Assignment | None:
    """The assignment of the same submission; without submission ids, of the same person."""
    if visit.submission_id:
        submissions = Assignment.objects.filter(external_submission_id=visit.submission_id)
        if source.platform in NUMBERED:  # whatever study the address names: a person can change it
            same = submissions.filter(external_platform=source.platform).first()
        else:
            same = submissions.filter(external_study_id=visit.study_id).first()
        if same is not None and same.crowdworker_id != person.pk:
            raise ArrivalRefused(_("This submission belongs to somebody else. Take a new one."))
        return same
    mine = person.assignments.filter(arrival__source=source)
    return mine.exclude(state=Assignment.State.RETURNED).first()


def _check_place(source: ArrivalSource, *, person: Crowdworker, campaign: Campaign) -> None:
    if person.standing != Crowdworker.Standing.ACTIVE:
        raise NoPlace(_("Your work here is paused. What you finished stays yours."))
    is_live = campaign.state == Campaign.State.LIVE and onboarding.may_see(person, campaign)
    if not source.is_open or not is_live:
        raise NoPlace(_("This work takes nobody on any more."))
    if source.places is not None and places_taken(source) >= source.places:
        raise NoPlace(_("All places are taken. Return the work where you found it, please."))


def places_taken(source: ArrivalSource) -> int:
    """Assignments that hold a place: all but those that were given back with nothing done."""
    return source.arrivals.exclude(assignment__state=Assignment.State.RETURNED).count()


def _take_on(
    source: ArrivalSource, visit: Visit, *, person: Crowdworker, campaign: Campaign
) -> Assignment:
    assignment = onboarding.make_assignment(
        person,
        campaign,
        state=Assignment.State.PREVIEW,
        pay_rule={
            "amount": str(source.pay_amount),
            "currency": source.pay_currency,
            "per": "assignment",
        },
        external_platform=source.platform,
        external_study_id=visit.study_id,
        external_submission_id=visit.submission_id,
    )
    Arrival.objects.create(source=source, assignment=assignment, submit_to=visit.submit_to)
    return assignment
