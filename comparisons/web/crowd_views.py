"""The crowdworker's pages around the conversation: start, campaign home, my work.

Knows requests and templates; what may happen is decided by the services.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from comparisons.models import Account, Campaign, Crowdworker
from comparisons.web.access import account_of, crowdworker_required


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The start page of each role."""
    account = account_of(request)
    if account.role == Account.Role.CROWDWORKER:
        return _work(request)
    return redirect("/manage/" if account.is_administrator else "/lab/")


@crowdworker_required
def _work(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    campaigns = Campaign.objects.filter(state=Campaign.State.LIVE)
    return render(request, "comparisons/work.html", {"campaigns": campaigns})


@require_GET
@crowdworker_required
def my_work(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """What was done, its state and its pay."""
    return render(request, "comparisons/my_work.html", {"crowdworker": crowdworker})


@require_GET
@crowdworker_required
def wellbeing(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """Comfort level, covers, support."""
    return render(request, "comparisons/wellbeing.html", {"crowdworker": crowdworker})


@require_GET
@crowdworker_required
def campaign_home(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """Progress and the one next thing to do."""
    return render(request, "comparisons/campaign_home.html", {"slug": slug})
