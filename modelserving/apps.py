"""The Django app of checkpoints, deployments and slots."""

from django.apps import AppConfig


class ModelservingConfig(AppConfig):
    name = "modelserving"
    verbose_name = "Model serving"
