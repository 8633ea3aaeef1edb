"""Sign-in by name and password as Django has it; the account of a request by SQL that is made once.

Knows accounts; sessions and what a page allows are elsewhere.
"""

from django.contrib.auth.backends import ModelBackend

from comparisons.models import Account
from comparisons.queries import signed_in


class AccountBackend(ModelBackend):
    """Asks the database at every request, so that whoever was shut out is shut out at once."""

    def get_user(self, user_id: int) -> Account | None:
        """The account, unless it may not sign in any more."""
        found = signed_in.account_of(int(user_id))
        return found if found and self.user_can_authenticate(found) else None
