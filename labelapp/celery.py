"""The Celery application: a doorbell for rows that wait in the database.

Knows the broker and the queues; every task re-reads its facts from the database.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labelapp.settings")

app = Celery("labelapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["comparisons", "training"])
