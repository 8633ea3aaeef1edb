"""Do as the page's script does when nobody answers: again, with the same key.

Knows time and HTTP errors; knows nothing of what failed.
"""

import time

import httpx

PATIENCE = 90.0


def patiently(act):
    """The first answer within the patience."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except httpx.HTTPError as failed:
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer within {PATIENCE} s") from failed
            time.sleep(0.3)


def until_ready(person, turn):
    """Until the turn's stream says that both responses are whole."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        streamed = patiently(lambda: person.read_stream(turn))
        if streamed.kinds and streamed.kinds[-1] == "ready":
            return
        time.sleep(0.3)
    raise AssertionError(f"turn {turn} was not ready within {PATIENCE} s")
