"""Gives every test a real PostgreSQL and a real Redis: the embedded ones, started once for the whole run.

The process that leads the run (the controller, with xdist) starts them in a temporary folder, without the
syncs that protect against a crash of the machine; each worker has databases of its own on them.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

FOLDER = "TEST_SERVICES_FOLDER"  # where the leader's services lie; its workers inherit it
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_running: list[Any] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        _start_services()
        _take_ground(config)
    _choose_settings(worker)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _running:
        from logomesh_server.embedded import stop_services

        stop_services(_running)
        _running.clear()
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    return f"browser tests: {CHROMIUM or 'skipped, no Chromium was found (apt-get install chromium)'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        in_browser = "page" in getattr(item, "fixturenames", ()) or item.get_closest_marker("browser")
        if in_browser:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium was found (apt-get install chromium)"))


def _start_services() -> None:
    from logomesh_server.embedded import FOR_TESTS, Wanted, start_services
    from logomesh_server.folder import Places, prepare_folder

    folder = tempfile.mkdtemp(prefix="logomesh-tests-")
    os.environ[FOLDER] = folder
    places = Places.of(Path(folder))
    prepare_folder(places)
    _running.extend(start_services(places, Wanted(), FOR_TESTS))


def _take_ground(config: pytest.Config) -> None:
    """As root, keep the tests' folders away from those of other runs.

    The databases in them belong to another user, who must pass through the folders above. Every pytest that
    starts closes the one that all runs of a person share, under the feet of those that are under way.
    """
    if os.geteuid() == 0 and config.option.basetemp is None:
        config.option.basetemp = Path(os.environ[FOLDER]) / "tests"


def _choose_settings(worker: str | None) -> None:
    """Point Django at the run's services, before anything has read its settings."""
    from logomesh_server.folder import Places

    folder = Path(os.environ[FOLDER])
    places = Places.of(folder)
    redis_database = 0 if worker is None else 1 + int(worker.removeprefix("gw")) % 15
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "logomesh_server.settings",
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright keeps an event loop in the tests' thread
        "LOGOMESH_DATA_DIR": str(folder / (worker or "leader")),
        "DATABASE_URL": places.database_url,
        "REDIS_URL": f"{places.redis_url}?db={redis_database}",
        "SECRET_KEY": "only-for-tests",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
        "LOG_LEVEL": "WARNING",
    }
    from django.conf import settings

    Path(settings.DATA_DIR).mkdir(exist_ok=True)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.WHITENOISE_AUTOREFRESH = True
    settings.WHITENOISE_USE_FINDERS = True


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, not a download; its own sandbox cannot be had as root."""
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Lets Django empty all tables after a test with real transactions, the audit trail included."""
    from django.db import connection

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE workspaces_auditentry DISABLE TRIGGER never_emptied")


@pytest.fixture
def people(db: None) -> Any:
    """The same five people in every test (see tests/people.py)."""
    from tests.people import make_people  # models cannot be imported before the settings are chosen

    return make_people()


@pytest.fixture(autouse=True)
def _empty_redis(request: pytest.FixtureRequest) -> None:
    """No rate limit, cache entry or waiting task of one test reaches the next."""
    import redis
    from django.conf import settings

    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    client.close()
