"""Make accounts, passwords, one-time sign-in links and API tokens; secrets are kept as hashes only.

Knows nothing of sessions or pages: the web signs in whom `use_sign_in_link` returns.
"""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Account, ApiToken, ArrivalSource, SignInLink
from comparisons.services import audit

LINK_LIFETIME = timedelta(hours=24)


class AccountExists(ValueError):
    """The name is taken."""


class SignInLinkInvalid(ValueError):
    """The link was used before, ran out, or never was."""


class WrongPassword(ValueError):
    """What was given as the current password is another one."""


class PasswordChangedElsewhere(ValueError):
    """The password became another one while this change was under way."""


def create_account(
    *,
    username: str,
    role: str,
    password: str | None = None,
    email: str = "",
    actor: Account | None = None,
) -> Account:
    """Make an account; without a password it can only be entered by a sign-in link."""
    account = Account(username=username, email=email, role=Account.Role(role))
    if password is None:
        account.set_unusable_password()
    else:
        validate_password(password, account)
        account.set_password(password)
    try:
        with transaction.atomic():
            account.save(force_insert=True)
            audit.record(
                actor=actor,
                action="account.create",
                object_type="account",
                object_id=account.public_id,
                detail={"role": account.role},
            )
    except IntegrityError:
        if Account.objects.filter(username=username).exists():
            raise AccountExists(f"there is an account {username!r}: choose another name") from None
        raise
    return account


def may_have_password(account: Account) -> bool:
    """Whoever came from another platform comes in from there: they have no name to sign in with."""
    person = getattr(account, "crowdworker", None)
    return person is None or person.platform not in ArrivalSource.Platform


def change_password(account: Account, *, current: str | None, new: str) -> None:
    """Put `new` in the place of the current password.

    `current` is None where nobody can be asked for it: there is none, or a one-time link was used because it is lost.
    Open sign-in links are used up: they would outlive the change. Sessions that began with the old
    password end by themselves, because Django keeps a hash of it in them.
    """
    if current is not None and not check_password(current, account.password):
        raise WrongPassword("this is not the current password: type the one that works now")
    validate_password(new, account)
    made = make_password(new)  # slow on purpose, so not while the database is held
    with transaction.atomic():
        unchanged = Account.objects.filter(pk=account.pk, password=account.password)
        if unchanged.update(password=made) != 1:
            raise PasswordChangedElsewhere(
                "the password was changed just now: sign in with the new one"
            )
        links = SignInLink.objects.filter(account=account, used_at__isnull=True)
        links.filter(expires_at__gt=now()).update(used_at=now())
        audit.record(
            actor=account,
            action="account.password",
            object_type="account",
            object_id=account.public_id,
        )
    account.password = made


def make_sign_in_link(account: Account, *, lifetime: timedelta = LINK_LIFETIME) -> str:
    """A new one-time link for the account, as a path on this site."""
    token = secrets.token_urlsafe(32)
    until = now() + lifetime
    with transaction.atomic():
        SignInLink.objects.create(account=account, token_sha256=token_hash(token), expires_at=until)
        audit.record(  # by nobody who is signed in: a command makes it
            actor=None, action="sign_in_link.create", object_type="account",
            object_id=account.public_id, detail={"expires_at": until.isoformat()},
        )  # fmt: skip
    return reverse("sign_in_link", args=[token])


def use_sign_in_link(token: str) -> Account:
    """Use the link up and return its account. Of two uses at once, one gets through."""
    link = _usable_links(token).select_related("account").first()
    # the condition stands on the row itself: one that hangs on a join is not looked at again
    # by PostgreSQL when two uses meet
    unused = SignInLink.objects.filter(token_sha256=token_hash(token), used_at__isnull=True)
    with transaction.atomic():
        if link is None or unused.update(used_at=now()) != 1:
            raise SignInLinkInvalid(
                "this link was used before or has run out: ask an administrator for a new one"
            )
        audit.record(
            actor=link.account, action="sign_in_link.use", object_type="account",
            object_id=link.account.public_id,
        )  # fmt: skip
    return link.account


def make_api_token(
    account: Account,
    *,
    name: str,
    scope: str = ApiToken.Scope.READ,
    expires_at: datetime | None = None,
) -> str:
    """A new bearer token for the REST API; shown now and never again."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = ApiToken.objects.create(
            account=account,
            name=name,
            token_sha256=token_hash(token),
            scope=ApiToken.Scope(scope),
            expires_at=expires_at,
        )
        audit.record(
            actor=account,
            action="api_token.create",
            object_type="api_token",
            object_id=row.pk,
            detail={"name": name, "scope": row.scope},
        )
    return token


def api_token_of(token: str) -> ApiToken | None:
    """The valid token with this text, its account loaded; None when revoked, run out or unknown."""
    still_valid = Q(expires_at__isnull=True) | Q(expires_at__gt=now())
    rows = ApiToken.objects.filter(still_valid, revoked_at__isnull=True, account__is_active=True)
    return rows.select_related("account").filter(token_sha256=token_hash(token)).first()


def note_token_use(token: ApiToken) -> None:
    """Remember when the token was last used, to the minute."""
    at = now()
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=at - timedelta(minutes=1))
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=at)


def revoke_api_token(account: Account, *, token_id: int) -> bool:
    """Make the account's own token useless from now on. False when it is not theirs or was."""
    with transaction.atomic():
        own = ApiToken.objects.filter(pk=token_id, account=account, revoked_at__isnull=True)
        if own.update(revoked_at=now()) != 1:
            return False
        audit.record(
            actor=account, action="api_token.revoke", object_type="api_token", object_id=token_id
        )
    return True


def token_hash(token: str) -> str:
    """What is kept of a secret token: its sha256 in hex."""
    return sha256(token.encode()).hexdigest()


def _usable_links(token: str) -> QuerySet[SignInLink]:
    return SignInLink.objects.filter(
        token_sha256=token_hash(token),
        used_at__isnull=True,
        expires_at__gt=now(),
        account__is_active=True,
    )
