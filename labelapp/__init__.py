"""The Django project: settings, addresses, Celery, the supervisor and its commands."""

from labelapp.celery import app as celery_app

__all__ = ["celery_app"]
