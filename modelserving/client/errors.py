"""What can go wrong between us and a model server, sorted by what to do about it.

Knows statuses and codes; knows neither deployments nor conversations.
"""

import re
from collections.abc import Mapping
from typing import Any

import httpx

SECONDS_TO_WAIT = 1.0  # where a server is full and does not say for how long
LONGEST_WAIT = 30.0
CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")  # what is longer or has spaces may be a sentence
# what a policy computes is no number, or takes too long: that speaks of the policy
OF_THE_REQUEST = frozenset({"not_finite", "not_rankable", "deadline"})


class EndpointError(Exception):
    """An endpoint did not do what was asked; the message may hold its own words, which may quote the prompt."""

    def __init__(self, message: str, *, code: str = "") -> None:
        """`code`: status and code as the protocol states them."""
        super().__init__(message)
        self.code = code

    @property
    def brief(self) -> str:
        """What may be kept and logged: the kind and the code, no word of the endpoint's."""
        kind = type(self).__name__
        return f"{kind} ({self.code})" if self.code else kind


class Unreachable(EndpointError):
    """It does not answer, answers too late, or answers nonsense: another one may do better."""


class Overloaded(EndpointError):
    """It is full: the same request may succeed after `seconds`."""

    def __init__(self, message: str, *, code: str = "", seconds: float = SECONDS_TO_WAIT) -> None:
        """Keep how long the server asks to wait."""
        super().__init__(message, code=code)
        self.seconds = seconds


class NotLoaded(EndpointError):
    """It answers, and does not have the checkpoint in memory."""


class Refused(EndpointError):
    """It will never do this: the request, the checkpoint or the secret is wrong."""


class RequestFailed(EndpointError):
    """It works, and fails on this request: asked again it would fail again, and so would another."""


class StreamBroken(EndpointError):
    """The reply broke off after text had come: what came is not a whole reply."""


def error_of(response: httpx.Response) -> EndpointError:
    """The error that a refusing response means; its body is read."""
    response.read()
    try:
        body = response.json()
        stated = body.get("error") or body.get("detail") or body  # older vLLM states it flat
    except (ValueError, AttributeError):
        stated = {}
    return stated_error(
        stated if isinstance(stated, Mapping) else {"message": str(stated)},
        status=response.status_code,
        retry_after=response.headers.get("retry-after", ""),
    )


def stated_error(
    stated: Mapping[str, Any], *, status: int = 0, retry_after: str = ""
) -> EndpointError:
    """The error that an error object of the protocol means; inside a stream, by its code and type alone."""
    code, message = str(stated.get("code") or ""), str(stated.get("message") or f"status {status}")
    brief = _code(code, status=status)
    if code == "model_not_loaded":
        return NotLoaded(message, code=brief)
    if code in OF_THE_REQUEST and status in {0, 500}:
        return RequestFailed(message, code=brief)
    kind = "" if status else str(stated.get("type") or "")
    if status in {429, 503} or kind == "overloaded_error":
        seconds = float(retry_after) if retry_after.isdigit() else SECONDS_TO_WAIT
        return Overloaded(message, code=brief, seconds=min(seconds, LONGEST_WAIT))
    if status in {401, 403}:
        words = f"the model server does not accept our secret: {message}"
        return Refused(words, code=brief)
    if status == 404 and "model" in message.lower():  # how other servers say it
        return NotLoaded(message, code=brief)
    if 400 <= status < 500 or kind in {"invalid_request_error", "checkpoint_error"}:
        return Refused(message, code=brief)
    return Unreachable(message, code=brief)


def _code(code: str, *, status: int) -> str:
    """The status, and the code where it is one and no sentence."""
    is_code = CODE.fullmatch(code) and code != str(status)
    return " ".join(part for part in (str(status or ""), code if is_code else "") if part)
