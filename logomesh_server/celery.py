"""Celery: runs tasks in the background. What a task is about stands in PostgreSQL; see settings.CELERY_*."""

import logging
import os
from typing import Any

from celery import Celery, signals

from .logs import request_id

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")


def _send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """A task belongs to the request that asked for it."""
    if headers is not None and request_id.get():
        headers["request_id"] = request_id.get()


def _take_request_id(task: Any = None, task_id: str = "", **_: Any) -> None:
    sent = getattr(task.request, "request_id", None) or (task.request.headers or {}).get("request_id")
    request_id.set(sent or task_id)
    if sent:  # the clock's own tasks, every few seconds, would drown these
        logger.info("%s begins", task.name)


def _drop_request_id(task: Any = None, task_id: str = "", state: Any = None, **_: Any) -> None:
    if request_id.get() not in ("", task_id):
        logger.info("%s ends: %s", task.name, state)
    request_id.set("")


signals.before_task_publish.connect(_send_request_id)
signals.task_prerun.connect(_take_request_id)
signals.task_postrun.connect(_drop_request_id)

app = Celery("logomesh_server")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
