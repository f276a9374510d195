"""The addresses of sync. `/api/v1/live` is served beside Django (`logomesh_server.asgi`)."""

from django.urls import include, path

from sync import api
from sync.pages import conflicts, devices, history, spaces, thoughts

# What devices ask all day comes first: addresses are looked through in order.
API = [
    path("spaces/<str:space>/changes", api.Changes.as_view(), name="changes"),
    path("spaces", api.Spaces.as_view(), name="spaces"),
    path("spaces/<str:space>", api.OneSpace.as_view(), name="space"),
    path("spaces/<str:space>/changes/fetch", api.Fetch.as_view(), name="fetch"),
    path("spaces/<str:space>/digest", api.Digest.as_view(), name="digest"),
    path("spaces/<str:space>/record", api.OneRecord.as_view(), name="record"),
    path("spaces/<str:space>/history", api.History.as_view(), name="history"),
    path("spaces/<str:space>/restore", api.Restore.as_view(), name="restore"),
    path("spaces/<str:space>/move", api.Move.as_view(), name="move"),
    path("spaces/<str:space>/conflicts", api.Conflicts.as_view(), name="conflicts"),
    path("search", api.Search.as_view(), name="search"),
    path("conflicts/<str:conflict>/resolve", api.Resolve.as_view(), name="resolve"),
]
urlpatterns = [
    path("api/v1/", include(API)),
    path("spaces/<str:space>", spaces.space_page, name="space_page"),
    path("spaces/<str:space>/canvas", spaces.canvas_page, name="canvas_page"),
    path("spaces/<str:space>/canvas.json", spaces.canvas_data, name="canvas_data"),
    path("spaces/<str:space>/thought", thoughts.thought_page, name="thought_page"),
    path("spaces/<str:space>/history", history.history_page, name="history_page"),
    path("spaces/<str:space>/timeline", history.timeline_page, name="timeline_page"),
    path("spaces/<str:space>/deleted", history.deleted_page, name="deleted_page"),
    path("conflicts", conflicts.conflicts_page, name="conflicts_page"),
    path("conflicts/<str:conflict>", conflicts.resolve, name="resolve_page"),
    path("devices", devices.devices, name="devices_page"),
    path("devices/<str:device>/rename", devices.rename, name="rename_device"),
    path("devices/<str:device>/revoke", devices.revoke, name="revoke_device"),
]
