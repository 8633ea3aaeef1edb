"""The Django app of crowdworkers, campaigns, conversations and comparisons."""

from django.apps import AppConfig


class ComparisonsConfig(AppConfig):
    name = "comparisons"
    verbose_name = "Comparisons"
