"""A task's log lines bear the id of the request that asked for it."""

import logging
from typing import Any

from logomesh_server import celery
from logomesh_server.logs import AddRequestId, request_id


def test_the_request_id_travels_with_the_task() -> None:
    headers: dict[str, Any] = {}
    token = request_id.set("from-the-web")
    celery.signals.before_task_publish.send(sender="task", headers=headers)
    request_id.reset(token)
    assert headers == {"request_id": "from-the-web"}

    @celery.app.task(name="tests.say")
    def say() -> str:
        record = logging.makeLogRecord({})
        AddRequestId().filter(record)
        return str(record.request_id)  # type: ignore[attr-defined]

    assert say.apply(headers=headers).get() == "from-the-web"
    assert say.apply(task_id="alone").get() == "alone"
    assert request_id.get() == ""
