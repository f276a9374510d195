"""The addresses of migration."""

from django.urls import URLPattern, URLResolver, path

from migration.export.api import Export

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/spaces/<str:space>/export", Export.as_view(), name="export"),
]
