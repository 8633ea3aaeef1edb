"""Where a campaign recruits: its sources, the address to paste, who is where, what to pay.

Each view reads through queries or calls one service.
"""

import csv
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from comparisons.formats.csv import safe_cell
from comparisons.models import ArrivalSource, Campaign
from comparisons.queries import arrivals
from comparisons.services import arrival_sources
from comparisons.services.arrival_return import code_of
from comparisons.services.arrival_visits import names_of
from comparisons.web.access import account_of, administrator_required
from comparisons.web.arrival_forms import ChangeSourceForm, NewSourceForm
from comparisons.web.arrival_frame import ADDRESSES
from comparisons.web.confirming import confirm_to_change, confirm_to_download
from comparisons.web.manage_page import Unseen, manage_page, seen_until

Platform = ArrivalSource.Platform
COLUMNS = (
    "pseudonym", "state", "study", "submission", "completion_code", "finished", "required",
    "active_minutes", "amount", "currency", "handed_in",
)  # fmt: skip
QUESTION = """<ExternalQuestion xmlns="http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd">
  <ExternalURL>{address}</ExternalURL>
  <FrameHeight>0</FrameHeight>
</ExternalQuestion>"""


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def campaign_arrivals(request: HttpRequest, slug: str) -> HttpResponse:
    """The sources of a campaign, and a new one."""
    campaign = get_object_or_404(Campaign, slug=slug)
    form = NewSourceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            source = arrival_sources.make_source(
                campaign, values=form.cleaned_data, actor=account_of(request)
            )
        except arrival_sources.SourceRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("manage_arrival", source.public_id)
    context = {"campaign": campaign, "rows": arrivals.source_rows(campaign), "form": form}
    return manage_page(request, "arrivals.html", place="manage_campaigns", context=context)


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def arrival(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One source: its address, its counts, what is to be paid, what may change."""
    source = get_object_or_404(
        ArrivalSource.objects.select_related("campaign"), public_id=public_id
    )
    initial = {name: getattr(source, name) for name in ChangeSourceForm.base_fields}
    form = ChangeSourceForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            changed = arrival_sources.change_source(
                source, changes=form.cleaned_data, actor=account_of(request)
            )
        except arrival_sources.SourceRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            said = f"Saved: {', '.join(changed).replace('_', ' ')}." if changed else "No change."
            messages.success(request, said)
            return redirect("manage_arrival", public_id)
    context = {
        "made_at": timezone.now().isoformat(),
        "source": source,
        "row": arrivals.source_row(source),
        "pay_rows": list(arrivals.pay_rows(source)),
        "form": form,
        **_addresses(source),
    }
    return manage_page(request, "arrival.html", place="manage_campaigns", context=context)


def _addresses(source: ArrivalSource) -> dict[str, Any]:
    """What is pasted into the platform, and what keeps it from working."""
    is_mturk = source.platform == Platform.MTURK
    path = reverse("arrive", args=[source.public_id], urlconf=ADDRESSES if is_mturk else None)
    address = f"{settings.PUBLIC_URL}{path}"
    if source.platform == Platform.PROLIFIC:
        address += "?" + "&".join(f"{name}={{{{%{name}%}}}}" for name in names_of(source))
    elif source.platform == Platform.EXTERNAL:
        names = [name for name in names_of(source) if name]
        address += "?" + "&".join(f"{name}=…" for name in names)
    missing = []
    if not settings.IS_HTTPS:
        missing.append("The platforms need https: set PUBLIC_URL to the site's public address.")
    if source.campaign.state != Campaign.State.LIVE:
        missing.append("Nobody can start: the campaign is not live.")
    is_prolific = source.platform == Platform.PROLIFIC
    return {
        "address": address,
        "question_xml": QUESTION.format(address=address) if is_mturk else "",
        "hook": f"{settings.PUBLIC_URL}{reverse('prolific_hook')}" if is_prolific else "",
        "has_hook_secret": bool(settings.PROLIFIC_WEBHOOK_SECRETS),
        "missing": missing,
    }


@require_POST
@administrator_required
@confirm_to_change
def arrival_settle(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Accept what was handed in, or mark what was accepted as paid, as far as the page showed it."""
    source = get_object_or_404(ArrivalSource, public_id=public_id)
    to = request.POST.get("to", "")
    try:
        until = seen_until(request)
        count = arrival_sources.settle(source, to=to, actor=account_of(request), until=until)
    except (arrival_sources.SourceRefused, Unseen) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{count} {to}.")
    return redirect("manage_arrival", public_id)


@require_safe
@administrator_required
@confirm_to_download
def arrival_pay(_request: HttpRequest, public_id: UUID) -> HttpResponse:
    """What to approve and pay, by pseudonym and submission."""
    source = get_object_or_404(ArrivalSource, public_id=public_id)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="pay-{source.public_id}.csv"'
    table = csv.writer(response)
    table.writerow(COLUMNS)
    for row in arrivals.pay_rows(source):
        assignment = row.arrival.assignment
        handed_in = assignment.submitted_at.isoformat() if assignment.submitted_at else ""
        cells = [
            assignment.crowdworker.pseudonym, assignment.state, assignment.external_study_id,
            assignment.external_submission_id, code_of(row.arrival), row.finished,
            assignment.conversations_required, round(assignment.active_milliseconds / 60_000, 1),
            row.amount, row.currency, handed_in,
        ]  # fmt: skip
        table.writerow([safe_cell(cell) for cell in cells])
    return response
