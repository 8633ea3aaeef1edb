"""Who may use the REST API: researchers and administrators; writing needs a token that may run.

Knows roles, scopes and whether a session was confirmed; knows nothing of single objects.
"""

from typing import TYPE_CHECKING

from django.urls import reverse
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from comparisons.models import Account, ApiToken
from comparisons.services.confirmations import is_confirmed

if TYPE_CHECKING:  # the framework imports this module while it imports its views
    from rest_framework.views import APIView


class IsResearcher(BasePermission):
    """A researcher or administrator; a token with scope read never writes."""

    message = (
        "This needs a researcher's account, and for anything but reading a token that may run."
    )

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 -- the framework's signature
        """Role first, then the token's scope for anything that is not a read."""
        if not isinstance(request.user, Account) or not request.user.is_researcher:
            return False
        is_write = request.method not in SAFE_METHODS
        if is_write and isinstance(request.auth, ApiToken):
            return request.auth.scope == ApiToken.Scope.RUN
        return True


class IsConfirmed(BasePermission):
    """A token, or a session whose person said a moment ago who they are, as the pages ask for it."""

    @property
    def message(self) -> dict[str, str]:
        """What the 403 tells a script: why, and the page to lead the person to."""
        said = "This needs your password again: confirm that it is you, then try once more."
        return {"detail": said, "error": "not_confirmed", "page": reverse("confirm")}

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 -- the framework's signature
        """A token is no session: it was made by somebody who was asked."""
        return isinstance(request.auth, ApiToken) or is_confirmed(request.session)


class IsConfirmedToChange(IsConfirmed):
    """The same for all but reading."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Reading passes."""
        return request.method in SAFE_METHODS or super().has_permission(request, view)
