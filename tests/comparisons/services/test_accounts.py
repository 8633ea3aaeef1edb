"""Accounts, passwords, one-time links and API tokens: used once, kept as hashes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.timezone import now

from comparisons.models import Account, ApiToken, AuditEntry, SignInLink
from comparisons.services.accounts import (
    AccountExists,
    PasswordChangedElsewhere,
    SignInLinkInvalid,
    WrongPassword,
    api_token_of,
    change_password,
    create_account,
    make_api_token,
    make_sign_in_link,
    may_have_password,
    token_hash,
    use_sign_in_link,
)
from tests.comparisons.making import PASSWORD, make_account, make_crowdworker

pytestmark = pytest.mark.django_db

NEW = "quite another long one"


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


def test_making_and_using_a_link_are_in_the_audit_without_its_secret(account):
    before = AuditEntry.objects.count()

    token = _token(make_sign_in_link(account))
    use_sign_in_link(token)
    with pytest.raises(SignInLinkInvalid):
        use_sign_in_link(token)

    entries = AuditEntry.objects.order_by("pk").values()[before:]
    assert [(each["action"], each["actor_id"], each["object_id"]) for each in entries] == [
        ("sign_in_link.create", None, str(account.public_id)),
        ("sign_in_link.use", account.pk, str(account.public_id)),
    ]
    assert token not in str(entries)
    assert token_hash(token) not in str(entries)


def test_link_works_once(account):
    token = _token(make_sign_in_link(account))

    assert use_sign_in_link(token) == account
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

    with pytest.raises(SignInLinkInvalid):
        use_sign_in_link(token)


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


def test_a_password_takes_the_place_of_the_current_one():
    account = make_account()

    change_password(account, current=PASSWORD, new=NEW)

    kept = Account.objects.get(pk=account.pk)
    assert (kept.check_password(NEW), kept.check_password(PASSWORD)) == (True, False)
    assert account.password == kept.password
    assert NEW not in kept.password


def test_an_account_without_a_password_gets_its_first(account):
    change_password(account, current=None, new=NEW)

    assert Account.objects.get(pk=account.pk).check_password(NEW)


@pytest.mark.parametrize(
    ("current", "new", "refusal"),
    [
        ("a wrong long password", NEW, WrongPassword),
        ("", NEW, WrongPassword),
        (PASSWORD, "short", ValidationError),
        (PASSWORD, "rowan-of-the-hill", ValidationError),
        ("a wrong long password", "short", WrongPassword),  # strength is told to the owner alone
    ],
)
def test_a_refused_change_leaves_everything_as_it_was(current, new, refusal):
    account = make_account(name="rowan-of-the-hills")
    token = _token(make_sign_in_link(account))

    with pytest.raises(refusal):
        change_password(account, current=current, new=new)

    assert Account.objects.get(pk=account.pk).check_password(PASSWORD)
    assert use_sign_in_link(token) == account
    assert not AuditEntry.objects.filter(action="account.password").exists()


def test_a_change_is_audited_without_a_secret():
    account = make_account()

    change_password(account, current=PASSWORD, new=NEW)

    (entry,) = AuditEntry.objects.values()
    said = {
        name: entry[name] for name in ("actor_id", "action", "object_type", "object_id", "detail")
    }
    assert said == {
        "actor_id": account.pk,
        "action": "account.password",
        "object_type": "account",
        "object_id": str(account.public_id),
        "detail": {},
    }
    assert not [each for each in (PASSWORD, NEW, account.password) if each in str(entry)]


def test_a_change_uses_up_the_accounts_open_links_alone(account):
    mine, ran_out = make_sign_in_link(account), make_sign_in_link(account, lifetime=-timedelta(1))
    other = make_account()
    others = _token(make_sign_in_link(other))

    change_password(account, current=None, new=NEW)

    for link in (mine, ran_out):
        with pytest.raises(SignInLinkInvalid):
            use_sign_in_link(_token(link))
    assert SignInLink.objects.get(used_at__isnull=True, account=account).expires_at < now()
    assert use_sign_in_link(others) == other


def test_a_change_of_a_password_that_was_changed_meanwhile_is_refused(account):
    stale = Account.objects.get(pk=account.pk)
    change_password(account, current=None, new=NEW)

    with pytest.raises(PasswordChangedElsewhere):
        change_password(stale, current=None, new="a third long password")

    assert Account.objects.get(pk=account.pk).check_password(NEW)
    assert AuditEntry.objects.filter(action="account.password").count() == 1


@pytest.mark.parametrize("platform", ["direct", "simulated", "prolific", "mturk", "external"])
def test_people_of_other_platforms_have_no_password(platform):
    person = make_crowdworker(platform=platform)

    assert may_have_password(person.account) == (platform in {"direct", "simulated"})


@pytest.mark.parametrize("role", Account.Role.values)
def test_everybody_without_a_profile_may_have_a_password(role):
    assert may_have_password(make_account(role))


@pytest.mark.django_db(transaction=True)
def test_of_six_changes_at_once_one_gets_through():
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("threads share one in-memory connection; PostgreSQL tries this")
    account = make_account()
    copies = [Account.objects.get(pk=account.pk) for _ in range(6)]

    def change(number):
        try:
            change_password(copies[number], current=PASSWORD, new=f"{NEW} {number}")
        except PasswordChangedElsewhere:
            return None
        finally:
            connection.close()
        return f"{NEW} {number}"

    with ThreadPoolExecutor(6) as pool:
        (kept,) = filter(None, pool.map(change, range(6)))

    assert Account.objects.get(pk=account.pk).check_password(kept)
    assert AuditEntry.objects.filter(action="account.password").count() == 1


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
