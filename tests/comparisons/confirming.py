"""What the page that asks who one is holds, and sessions that were never asked.

Knows its form as a browser does.
"""

import re
from html import unescape

from django.test import Client

from comparisons.models import Account

FIELD = "confirming_password"


def hidden_fields(page: str) -> dict[str, list[str]]:
    """What the page's form sends along, unescaped."""
    found: dict[str, list[str]] = {}
    form = re.search(r'<main.*?<form method="post".*?</form>', page, re.DOTALL)[0]
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form):
        found.setdefault(unescape(name), []).append(unescape(value))
    return found


def action(page: str) -> str:
    """Where the page's form goes."""
    return unescape(re.search(r'<main.*?<form method="post" action="([^"]+)"', page, re.DOTALL)[1])


def never_asked(account: Account) -> Client:
    """A session from before anybody noted when its person was asked."""
    client = Client()
    client.force_login(account)
    session = client.session
    del session["confirmed_at"]
    session.save()
    return client
