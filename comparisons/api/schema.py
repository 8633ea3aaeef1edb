"""The OpenAPI description of the whole API, for researchers, as JSON or YAML.

Knows how to ask for the description; what it says comes from the views.
"""

from dataclasses import dataclass
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularAPIView
from rest_framework.authentication import SessionAuthentication

from comparisons.api.authentication import HashedTokenAuthentication
from comparisons.api.permissions import IsResearcher

METHODS = ("get", "post", "put", "patch", "delete")


class Schema(SpectacularAPIView):
    """The description itself; `?format=yaml` for YAML."""

    permission_classes = [IsResearcher]
    authentication_classes = [HashedTokenAuthentication, SessionAuthentication]
    renderer_classes = [OpenApiJsonRenderer, OpenApiYamlRenderer]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing the API can do, as the page of the API lists it."""

    method: str
    path: str
    summary: str
    parameters: tuple[str, ...]


def operations() -> list[Operation]:
    """Every operation of the API, in the order of its addresses."""
    description: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return [
        Operation(
            method=method.upper(),
            path=path,
            summary=(operation.get("description") or "").strip().split("\n")[0],
            parameters=tuple(each["name"] for each in operation.get("parameters", [])),
        )
        for path, methods in sorted(description["paths"].items())
        for method, operation in sorted(methods.items())
        if method in METHODS
    ]
