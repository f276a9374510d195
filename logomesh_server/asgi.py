"""The web application: Django behind the intake, live events beside it."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "logomesh_server.settings")
wsgi = get_wsgi_application()

from django.conf import settings  # noqa: E402  (Django is set up above)

from . import admitting, rendering  # noqa: E402
from .intake import Intake, Limits, Receive, Scope, Send  # noqa: E402
from .processes import end_with_parent  # noqa: E402


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    from sync.pull.live import live

    await live(scope, receive, send)


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
