"""What DATABASE_URL asks for, as Django's settings of one database; and a name to tell databases apart by.

Knows addresses and their parameters; opens nothing.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from labelapp.env import EnvError

LIMITS = (
    "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000"
)
PASSED_ON = {
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "sslcert", "sslcrl", "sslkey",
    "sslmode", "sslnegotiation", "sslrootcert", "target_session_attrs", "tcp_user_timeout",
}  # fmt: skip


def postgresql(url: str) -> dict[str, Any]:
    """Settings of the PostgreSQL at this address."""
    if not url.startswith(("postgres://", "postgresql://")):
        raise EnvError(
            "DATABASE_URL: write postgresql://user:password@host:port/name, or unset it for SQLite"
        )
    parts = urlsplit(url)
    try:
        port = str(parts.port or "")
    except ValueError:  # its message would quote a part of the password
        raise EnvError(
            "DATABASE_URL: what stands for the port is not a number; in a password write / as %2F, @ as %40, "
            ": as %3A, # as %23 and ? as %3F"
        ) from None
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = asked.pop("host", unquote(parts.hostname or ""))  # a folder of sockets comes this way
    _refuse_unknown(asked)
    return {
        "ENGINE": "labelapp.databases.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": port,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "options": LIMITS,
            "prepare_threshold": 2,  # plans stay with the connection
            **asked,
        },
    }


def shown(url: str) -> str:
    """Its name and where it is, without who signs in: tells databases apart and is no secret."""
    database = postgresql(url)
    where = f"{database['HOST'] or 'this machine'}:{database['PORT']}".rstrip(":")
    return f"{database['NAME']} on {where}"


def _refuse_unknown(asked: Mapping[str, str]) -> None:
    """What is dropped unseen, sslmode above all, would be missed too late."""
    if unknown := sorted(asked.keys() - PASSED_ON):
        raise EnvError(
            f"DATABASE_URL: {', '.join(unknown)} after the ? cannot be passed on; take it out, "
            f"or use host or one of {', '.join(sorted(PASSED_ON))}"
        )
