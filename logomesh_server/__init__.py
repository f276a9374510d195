"""Wiring: settings, addresses, embedded services, health, errors.

The Celery application is imported here so that tasks sent from a web process find their broker.
"""

from .celery import app as celery_app

__all__ = ["celery_app"]
