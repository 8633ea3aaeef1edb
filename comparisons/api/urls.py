"""Addresses of the REST API below /api/v1/ that this app answers."""

from django.urls import path

from comparisons.api import views
from comparisons.api.schema import Schema

urlpatterns = [
    path("schema/", Schema.as_view(), name="api_schema"),
    path("releases/", views.ReleaseList.as_view(), name="api_releases"),
    path("releases/<str:name>/", views.ReleaseDetail.as_view(), name="api_release"),
    path("releases/<str:name>/exports/", views.ExportList.as_view(), name="api_exports"),
    path(
        "releases/<str:name>/exports/<slug:export_format>/download/",
        views.ExportDownload.as_view(),
        name="api_export_download",
    ),
    path("checkpoints/", views.CheckpointList.as_view(), name="api_checkpoints"),
    path("checkpoints/<slug:hash>/", views.CheckpointDetail.as_view(), name="api_checkpoint"),
    path("deployments/", views.DeploymentList.as_view(), name="api_deployments"),
    path("slots/", views.SlotList.as_view(), name="api_slots"),
    path("leaderboard/<slug:objective>/", views.LeaderboardView.as_view(), name="api_leaderboard"),
]
