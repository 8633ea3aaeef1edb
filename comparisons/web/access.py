"""Who may open a page: a foreign or a wrong-role request finds nothing (404).

Knows roles and standing; knows nothing of what a page shows.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render

from comparisons.models import Account, Crowdworker
from comparisons.queries.arrivals import arrivals_to_hand_in

P = ParamSpec("P")
PageView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
CrowdworkerView = Callable[Concatenate[HttpRequest, Crowdworker, P], HttpResponseBase]

NOT_YOURS = "There is nothing at this address, or it is not yours to see."


def account_of(request: HttpRequest) -> Account:
    """The signed-in account; a page without one is nobody's."""
    if not isinstance(request.user, Account):
        raise Http404(NOT_YOURS)
    return request.user


def crowdworker_of(account: Account) -> Crowdworker:
    """The account's crowdworker profile, or nothing at this address."""
    try:
        found: Crowdworker = account.crowdworker
    except Crowdworker.DoesNotExist:
        raise Http404(NOT_YOURS) from None
    return found


def crowdworker_required(view: CrowdworkerView[P]) -> PageView[P]:
    """Hand the view its crowdworker; a suspended one reads why instead."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        crowdworker = crowdworker_of(account_of(request))
        if crowdworker.standing == Crowdworker.Standing.SUSPENDED:
            return render(
                request,
                "errors/suspended.html",
                {"crowdworker": crowdworker, "waiting": arrivals_to_hand_in(crowdworker)},
                status=403,
            )
        return view(request, crowdworker, *args, **kwargs)

    return guarded


def own_data_of(view: CrowdworkerView[P]) -> PageView[P]:
    """Hand the view its crowdworker, suspended or not: what is kept of a person stays theirs to see and erase."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(request, crowdworker_of(account_of(request)), *args, **kwargs)

    return guarded


def researcher_required(view: PageView[P]) -> PageView[P]:
    """Researchers and administrators; nothing here for anyone else."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not account_of(request).is_researcher:
            raise Http404(NOT_YOURS)
        return view(request, *args, **kwargs)

    return guarded


def administrator_required(view: PageView[P]) -> PageView[P]:
    """Administrators; nothing here for anyone else."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not account_of(request).is_administrator:
            raise Http404(NOT_YOURS)
        return view(request, *args, **kwargs)

    return guarded
