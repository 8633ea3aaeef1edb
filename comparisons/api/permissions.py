"""Who may use the REST API: researchers and administrators; writing needs a token that may run.

Knows roles and scopes; knows nothing of single objects.
"""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from comparisons.models import Account, ApiToken

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
