"""Every address of the product, gathered from the apps."""

from django.urls import include, path

urlpatterns = [
    path("", include("comparisons.web.urls")),
    path("manage/", include("comparisons.web.manage_urls")),
    path("lab/", include("training.web.urls")),
    path("api/v1/", include("comparisons.api.urls")),
    path("api/v1/", include("training.api.urls")),
    path("", include("labelapp.health_urls")),
]
handler400 = "comparisons.web.error_views.bad_request"
handler404 = "comparisons.web.error_views.not_found"
handler500 = "comparisons.web.error_views.server_error"
