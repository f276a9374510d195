"""Every address of the server, app by app."""

from django.urls import include, path

from workspaces.admin import site

from . import health, home
from .database import pages

# Sync first: addresses are looked through in order, and devices ask all day.
urlpatterns = [
    path("", include("sync.urls")),
    path("", home.home, name="home"),
    path("livez", health.alive, name="livez"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/v1/about", health.About.as_view(), name="about"),
    path("database", pages.database, name="database"),
    path("database/move", pages.move, name="database_move"),
    path("admin/", site.urls),
    path("", include("workspaces.urls")),
    path("", include("migration.urls")),
]

handler400 = "logomesh_server.rendering.bad_request"
handler403 = "logomesh_server.rendering.forbidden"
handler404 = "logomesh_server.rendering.not_found"
handler500 = "logomesh_server.rendering.unexpected"
