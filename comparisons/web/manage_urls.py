"""Addresses, still to come."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
