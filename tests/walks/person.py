"""A crowdworker at an HTTP client: signs in, consents, chats, reads the streams, chooses.

Knows pages and forms as a browser without script does; knows nothing of what answers.
"""

import json
import re
import time
import uuid
from dataclasses import dataclass, field

import httpx

HIDDEN = re.compile(r'name="(sha256_a|sha256_b|choice_key)" value="([^"]*)"')


@dataclass(kw_only=True)
class Streamed:
    """What came over one turn's event stream."""

    text: dict[str, str] = field(default_factory=lambda: {"A": "", "B": ""})
    first_text_seconds: dict[str, float] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    last_id: str = ""


class Person:
    """One signed-in browser session."""

    def __init__(self, base_url: str) -> None:
        """Nobody is signed in yet."""
        self.http = httpx.Client(
            base_url=base_url, follow_redirects=True, timeout=60, trust_env=False
        )

    def sign_in(self, username: str, password: str) -> None:
        """Through the form."""
        self.http.get("/sign-in/").raise_for_status()
        answer = self.post("/sign-in/", username=username, password=password)
        assert "sessionid" in self.http.cookies, answer.text[:2000]

    def post(self, path: str, *, is_script: bool = False, **fields: object) -> httpx.Response:
        """A form post with its token; as a script it gets JSON back."""
        headers = {"X-CSRFToken": self.http.cookies.get("csrftoken", "")}
        headers["Referer"] = str(self.http.base_url)
        if is_script:
            headers["Accept"] = "application/json"
        answer = self.http.post(path, data=fields, headers=headers)
        answer.raise_for_status()
        return answer

    def start(self, slug: str) -> str:
        """Consent when asked, start the next conversation; returns its path."""
        if slug == "red-team":
            self.post(f"/work/{slug}/opt-in", has_read="1", comfort="", cover="never")
        answer = self.post(f"/work/{slug}/start")
        if "/conversations/" not in answer.url.path:
            version = re.search(r'name="version" value="(\d+)"', answer.text)
            assert version, answer.text[:3000]
            answer = self.post(
                f"/work/{slug}/consent", version=version[1], has_read="1", then="start"
            )
        assert "/conversations/" in answer.url.path, answer.url
        return answer.url.path

    def say(self, conversation: str, text: str, *, key: uuid.UUID | None = None) -> str:
        """Send a message; returns the turn's public id."""
        key = key or uuid.uuid4()
        answer = self.post(
            f"{conversation}messages", is_script=True, text=text, message_key=str(key)
        )
        return str(answer.json()["saved"])

    def read_stream(self, turn: str, *, after: str = "", most_events: int = 10_000) -> Streamed:
        """Read the turn's events to their end."""
        streamed, began = Streamed(last_id=after), time.monotonic()
        headers = {"Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = after
        with self.http.stream("GET", f"/turns/{turn}/events", headers=headers) as answer:
            assert answer.status_code == 200, answer.status_code
            kind = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    streamed.last_id = value
                elif name == "event":
                    kind = value
                    streamed.kinds.append(kind)
                elif name == "data":
                    _take(streamed, kind, json.loads(value), seconds=time.monotonic() - began)
                    if kind == "ready" or len(streamed.kinds) >= most_events:
                        break
        return streamed

    def strip(self, conversation: str) -> dict[str, str]:
        """The hidden fields of the strip as the page shows them now."""
        return dict(HIDDEN.findall(self.http.get(conversation).text))

    def choose(self, conversation: str, turn: str, *, point: int, **more: object) -> httpx.Response:
        """Pick a point from 1 to 8."""
        fields = {**self.strip(conversation), **more}
        return self.post(f"/turns/{turn}/choice", is_script=True, point=point, **fields)


def _take(streamed: Streamed, kind: str, data: dict[str, str], *, seconds: float) -> None:
    side = data.get("side", "")
    if kind == "reset":
        for each in [side] if side else ["A", "B"]:
            streamed.text[each] = ""
    elif kind == "delta":
        streamed.first_text_seconds.setdefault(side, seconds)
        streamed.text[side] += data["text"]
