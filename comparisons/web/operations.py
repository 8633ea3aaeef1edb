"""What the REST API can do, read from its own OpenAPI description, for the page of the API.

Knows the description only; the views behind it are elsewhere.
"""

from dataclasses import dataclass
from typing import Any

from drf_spectacular.generators import SchemaGenerator

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing the API can do."""

    method: str
    path: str
    summary: str
    parameters: tuple[str, ...]


def operations() -> list[Operation]:
    """Every operation, in the order of its addresses."""
    description: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return [
        Operation(
            method=method.upper(),
            path=path,
            summary=(operation.get("description") or "").strip().split("\n")[0],
            parameters=tuple(
                each["name"] for each in operation.get("parameters", []) if each["in"] == "query"
            ),
        )
        for path, methods in sorted(description["paths"].items())
        for method, operation in sorted(methods.items())
        if method in METHODS
    ]
