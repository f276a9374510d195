"""Celery: runs tasks in the background. What a task is about stands in PostgreSQL; see settings.CELERY_*."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")

app = Celery("logomesh_server")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
