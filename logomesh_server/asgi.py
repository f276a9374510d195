"""The web application: Django behind the intake, live events beside it."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")
wsgi = get_wsgi_application()

from django.conf import settings  # noqa: E402  (Django is set up above)

from . import admitting, counting, rendering  # noqa: E402
from .intake import Intake, Limits, Message, Receive, Scope, Send, environ_of  # noqa: E402
from .processes import end_with_parent  # noqa: E402


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """The stream of live events. What goes wrong before its first byte, as a lost database, is a problem."""
    from sync.pull import live

    begun = False
    counting.gauge("logomesh_streams", len(live.hub) + 1)

    async def note(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await live.live(scope, receive, note)
    except Exception as error:
        status, headers, body = rendering.answer_early(environ_of(scope), error)
        if not begun:
            await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if begun else body})
    finally:
        counting.gauge("logomesh_streams", len(live.hub))


settings.INTAKE["spool"].mkdir(parents=True, exist_ok=True)
end_with_parent()
# A push makes a hundred thousand objects and no cycles; looking for some among them took a quarter of it.
gc.freeze()
gc.set_threshold(200_000, 50, 100)
application = Intake(
    wsgi,
    Limits(**settings.INTAKE),
    admit=admitting.admit,
    refuse=rendering.answer_early,
    native={"/api/v1/live": live},
)
