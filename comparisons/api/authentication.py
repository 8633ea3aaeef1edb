"""Bearer tokens of the REST API: sent in the header only, compared by hash only.

Knows how a token arrives; what it may do is `permissions`.
"""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from comparisons.models import Account, ApiToken
from comparisons.services.accounts import api_token_of, note_token_use

KEYWORD = b"bearer"
LONGEST_TOKEN = 200


class HashedTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; nothing else is looked at."""

    def authenticate(self, request: Request) -> tuple[Account, ApiToken] | None:
        """The token's account, None without a bearer header, 401 for a token that is not valid."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != KEYWORD:
            return None
        if len(parts) != 2 or len(parts[1]) > LONGEST_TOKEN:
            raise AuthenticationFailed("Send one token: Authorization: Bearer <token>")
        token = api_token_of(parts[1].decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("This token is unknown, revoked or has run out.")
        note_token_use(token)
        return token.account, token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 -- the framework's signature
        """What a 401 tells the client to send."""
        return "Bearer"


class HashedTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI description names the bearer token."""

    target_class = "comparisons.api.authentication.HashedTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002 -- the framework's signature
        """An HTTP bearer scheme."""
        return {"type": "http", "scheme": "bearer"}
