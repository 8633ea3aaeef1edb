"""Addresses that tell machines how we are; reachable without signing in."""

from django.urls import path

from labelapp import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("statusz", health.statusz, name="statusz"),
]
