"""What stands in DATABASE_URL reaches the driver, or is refused by name."""

import pytest

from labelapp.databases.addresses import LIMITS, postgresql, shown
from labelapp.env import EnvError

ADDRESS = "postgresql://ada:p%40ss@db.example.org:5433/labels"


def test_an_address_becomes_settings():
    settings = postgresql(ADDRESS)

    names = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    assert [settings[name] for name in names] == [
        "labels", "ada", "p@ss", "db.example.org", "5433",
    ]  # fmt: skip
    assert settings["OPTIONS"] == {"options": LIMITS, "prepare_threshold": 2}


def test_what_the_driver_knows_is_passed_on():
    asked = "?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3"

    options = postgresql(ADDRESS + asked)["OPTIONS"]

    assert options == {
        "options": LIMITS, "prepare_threshold": 2, "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem", "connect_timeout": "3",
    }  # fmt: skip


def test_a_folder_of_sockets_is_a_host():
    settings = postgresql("postgresql://ada@/labels?host=/run/postgresql")

    assert (settings["HOST"], settings["NAME"]) == ("/run/postgresql", "labels")


@pytest.mark.parametrize("asked", ["options=-c", "pgbouncer=true", "sslpassword=x", "password=x"])
def test_other_parameters_are_refused_by_name(asked):
    with pytest.raises(EnvError, match=f"{asked.partition('=')[0]} after the .* cannot be passed"):
        postgresql(f"{ADDRESS}?sslmode=require&{asked}")


def test_another_kind_of_address_is_refused():
    with pytest.raises(EnvError, match="write postgresql://"):
        postgresql("mysql://h/n")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ADDRESS + "?sslmode=require", "labels on db.example.org:5433"),
        ("postgresql://ada:secret@/labels?host=/run/postgresql", "labels on /run/postgresql"),
        ("postgresql:///labels", "labels on this machine"),
    ],
)
def test_what_is_shown_tells_databases_apart_and_no_password(address, expected):
    assert shown(address) == expected


def test_a_password_that_is_not_escaped_is_refused_and_not_quoted():
    with pytest.raises(EnvError, match="in a password write / as %2F") as refused:
        postgresql("postgresql://ada:s3cret/more@db/labels")

    assert "s3cret" not in str(refused.value)
