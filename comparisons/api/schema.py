"""The OpenAPI description of the whole API, for researchers, as JSON or YAML.

Knows how to ask for the description; what it says comes from the views.
"""

from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularAPIView
from rest_framework.authentication import SessionAuthentication

from comparisons.api.authentication import HashedTokenAuthentication
from comparisons.api.permissions import IsResearcher


class Schema(SpectacularAPIView):
    """The description itself; `?format=yaml` for YAML."""

    permission_classes = [IsResearcher]
    authentication_classes = [HashedTokenAuthentication, SessionAuthentication]
    renderer_classes = [OpenApiJsonRenderer, OpenApiYamlRenderer]
