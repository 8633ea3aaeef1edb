"""The project itself as a Django app: its commands and its static files."""

from django.apps import AppConfig


class LabelappConfig(AppConfig):
    name = "labelapp"
