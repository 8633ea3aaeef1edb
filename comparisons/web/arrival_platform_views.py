"""Arriving from Prolific, MTurk or another platform, and going back there with the work handed in.

Knows requests and templates; ids, places and states are the services'.
"""

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from comparisons.models import Arrival, ArrivalSource, Crowdworker
from comparisons.queries import work
from comparisons.services import arrival_visits, limits
from comparisons.services.arrival_ids import external_id_hash
from comparisons.services.arrival_return import way_back
from comparisons.services.drawing import current_instructions
from comparisons.web.access import NOT_YOURS, own_data_of
from comparisons.web.account_views import enter, too_fast
from comparisons.web.arrival_frame import allow_submit, is_framed
from comparisons.web.error_views import problem

HOUR = 3600
MOST_AN_HOUR = 1000  # at one source: more is somebody who makes ids up


def _source(request: HttpRequest, public_id: UUID) -> ArrivalSource:
    """MTurk's sources open in its frame only, all others outside it only."""
    sources = ArrivalSource.objects.select_related("campaign", "campaign__slot")
    source = sources.filter(public_id=public_id).first()
    is_mturk = source is not None and source.platform == ArrivalSource.Platform.MTURK
    if source is None or is_mturk != is_framed(request):
        raise Http404(NOT_YOURS)
    return source


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def arrive(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """What the work is, and a button that begins it; without the platform's ids, a preview."""
    source = _source(request, public_id)
    parameters = request.POST if request.method == "POST" else request.GET
    try:
        visit = arrival_visits.visit_of(source, parameters.dict())
        if request.method == "POST":
            return _begin(request, source, visit)
    except arrival_visits.ArrivalRefused as refusal:
        return problem(request, status=409, code="arrival_refused", message=str(refusal))
    names = [*arrival_visits.names_of(source), "turkSubmitTo"]
    context = {
        "source": source,
        "campaign": source.campaign,
        "instructions": current_instructions(source.campaign),
        "visit": visit,
        "sent": [(name, request.GET[name]) for name in names if name in request.GET],
        "address": request.get_full_path(),
        "is_framed": is_framed(request),
    }
    return render(request, "comparisons/arrival.html", context)


def _begin(
    request: HttpRequest, source: ArrivalSource, visit: arrival_visits.Visit
) -> HttpResponse:
    hashed = external_id_hash(platform=source.platform, external_id=visit.person_id)
    seconds = max(
        limits.take(f"arrive:{hashed}", limit=60, seconds=HOUR),
        limits.take(f"arrive-at:{source.public_id}", limit=MOST_AN_HOUR, seconds=HOUR),
    )
    if seconds:
        return too_fast(request, seconds)
    assignment = arrival_visits.arrive(source, visit)
    home = reverse("campaign_home", args=[source.campaign.slug])
    return enter(request, assignment.crowdworker.account, home)


@require_safe
@own_data_of  # pay hangs on it, also for one whose work is paused
def hand_in(request: HttpRequest, crowdworker: Crowdworker, public_id: UUID) -> HttpResponse:
    """The last step: back to the platform with the code, or MTurk's own form."""
    rows = Arrival.objects.select_related("source__campaign", "assignment")
    arrival = rows.filter(
        assignment__public_id=public_id, assignment__crowdworker=crowdworker
    ).first()
    if arrival is None:
        raise Http404(NOT_YOURS)
    context = {
        "assignment": arrival.assignment,
        "is_rejected": work.is_rejected(arrival.assignment),
        "campaign": arrival.source.campaign,
        "source": arrival.source,
        "back": way_back(arrival),
    }
    response = render(request, "comparisons/arrival_hand_in.html", context)
    return allow_submit(response) if is_framed(request) else response


@login_not_required
@require_safe
def lost(request: HttpRequest) -> HttpResponse:
    """The session of the frame is over, or the browser kept no cookie for it."""
    return render(request, "comparisons/arrival_lost.html", status=401)
