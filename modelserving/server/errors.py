"""Everything a client can be told went wrong, with its HTTP status and a code that programs can rely on.

Does not know routes or the engine.
"""

from typing import Any

LONGEST_MESSAGE = 2000


class ServingError(Exception):
    """A refusal with a status, a code and a message that names the cure."""

    status = 500
    kind = "server_error"

    def __init__(self, message: str, *, code: str, retry_after: int | None = None) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after = retry_after

    def to_json(self) -> dict[str, Any]:
        """The error shape of the OpenAI API."""
        message = self.message[:LONGEST_MESSAGE]  # it may repeat what the client sent
        return {"error": {"message": message, "type": self.kind, "param": None, "code": self.code}}


class BadRequest(ServingError):
    """The request cannot be honoured as it is."""

    status = 400
    kind = "invalid_request_error"


class Unauthorised(ServingError):
    """The bearer secret is missing or wrong."""

    status = 401
    kind = "authentication_error"


class NotHere(ServingError):
    """The route or the checkpoint is not here; clients load the checkpoint and try again."""

    status = 404
    kind = "not_found_error"


class Conflict(ServingError):
    """What is asked for would break something that is in use."""

    status = 409
    kind = "invalid_request_error"


class TooSlow(ServingError):
    """The body came too slowly."""

    status = 408
    kind = "invalid_request_error"


class TooLarge(ServingError):
    """The body is larger than the server reads."""

    status = 413
    kind = "invalid_request_error"


class Refused(ServingError):
    """The checkpoint directory was refused; what was loaded stays loaded."""

    status = 422
    kind = "checkpoint_error"


class Overloaded(ServingError):
    """The queue or the memory is full: the same request may succeed later."""

    status = 503
    kind = "overloaded_error"


class GenerationFailed(ServingError):
    """The engine could not finish; what was streamed so far is not a complete reply."""

    status = 500
    kind = "generation_error"


def out_of_memory(what: str) -> Overloaded:
    """The device's memory ran out, which says nothing of what was asked for."""
    return Overloaded(
        f"out of memory {what}: try again, or lower --memory-budget", code="out_of_memory",
        retry_after=5,
    )  # fmt: skip


def shutting_down() -> Overloaded:
    """The server is going away; another one, or this one in a moment, does the same."""
    return Overloaded("the server is going away: try again", code="shutting_down", retry_after=5)


def model_not_loaded(name: str) -> NotHere:
    """The answer on which clients load the checkpoint and try again."""
    return NotHere(
        f"no checkpoint named {name!r} is loaded: POST /v1/checkpoints/load first",
        code="model_not_loaded",
    )
