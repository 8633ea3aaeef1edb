"""The Django app of checkpoints, deployments and slots."""

from importlib import import_module

from django.apps import AppConfig


class ModelservingConfig(AppConfig):
    name = "modelserving"
    verbose_name = "Model serving"

    def ready(self) -> None:
        """Let the minute in which somebody has to look begin with the process."""
        import_module("modelserving.presence")
