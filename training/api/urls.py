"""Addresses of the REST API below /api/v1/ that this app answers."""

from django.urls import path

from training.api import views

urlpatterns = [
    path("runs/", views.RunList.as_view(), name="api_runs"),
    path("runs/<uuid:public_id>/", views.RunDetail.as_view(), name="api_run"),
    path("runs/<uuid:public_id>/stop/", views.RunStop.as_view(), name="api_run_stop"),
    path("runs/<uuid:public_id>/metrics/", views.RunMetrics.as_view(), name="api_run_metrics"),
]
