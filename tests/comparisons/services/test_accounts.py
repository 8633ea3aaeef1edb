"""Accounts, one-time links and API tokens: used once, kept as hashes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.timezone import now

from comparisons.models import Account, ApiToken, SignInLink
from comparisons.services.accounts import (
    AccountExists,
    SignInLinkInvalid,
    api_token_of,
    create_account,
    make_api_token,
    make_sign_in_link,
    sign_in_link_account,
    use_sign_in_link,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return create_account(username="rowan", role="researcher")


def _token(path):
    return path.rstrip("/").rpartition("/")[2]


def test_account_without_password_has_none_that_works(account):
    assert not account.has_usable_password()
    assert account.role == Account.Role.RESEARCHER


def test_weak_password_is_refused():
    with pytest.raises(ValidationError):
        create_account(username="rowan", role="researcher", password="password")


def test_taken_name_is_said(account):
    with pytest.raises(AccountExists, match="choose another name"):
        create_account(username="rowan", role="crowdworker")


def test_link_works_once(account):
    token = _token(make_sign_in_link(account))

    assert sign_in_link_account(token) == account
    assert use_sign_in_link(token) == account
    assert sign_in_link_account(token) is None
    with pytest.raises(SignInLinkInvalid, match="ask an administrator for a new one"):
        use_sign_in_link(token)


def test_link_is_kept_as_a_hash_only(account):
    token = _token(make_sign_in_link(account))

    assert token not in str(list(SignInLink.objects.values()))


def test_link_runs_out(account):
    token = _token(make_sign_in_link(account, lifetime=timedelta(seconds=-1)))

    with pytest.raises(SignInLinkInvalid):
        use_sign_in_link(token)


def test_link_of_a_closed_account_does_not_work(account):
    token = _token(make_sign_in_link(account))
    Account.objects.update(is_active=False)

    assert sign_in_link_account(token) is None


def test_api_token_until_revoked_or_run_out(account):
    token = make_api_token(account, name="notebook", scope=ApiToken.Scope.RUN)

    found = api_token_of(token)
    assert found is not None
    assert (found.account, found.scope) == (account, ApiToken.Scope.RUN)
    assert token not in str(list(ApiToken.objects.values()))

    ApiToken.objects.update(expires_at=now() - timedelta(seconds=1))
    assert api_token_of(token) is None
    ApiToken.objects.update(expires_at=None, revoked_at=now())
    assert api_token_of(token) is None


@pytest.mark.django_db(transaction=True)
def test_of_eight_uses_at_once_one_gets_through(account):
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("threads share one in-memory connection; PostgreSQL tries this")
    token = _token(make_sign_in_link(account))

    def use(_number):
        try:
            use_sign_in_link(token)
        except SignInLinkInvalid:
            return 0
        finally:
            connection.close()
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1
