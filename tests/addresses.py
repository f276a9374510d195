"""Every address that the server answers, as its URL patterns say."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver


def addresses() -> Iterator[tuple[str, URLPattern]]:
    """Each route, such as `api/v1/spaces/<str:space>`, with what answers there."""
    yield from _under("", get_resolver())


def admin_addresses() -> list[str]:
    return [f"/{route}" for route, _pattern in addresses() if route.startswith("admin/") and "(" not in route]


def _under(prefix: str, resolver: URLResolver) -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _under(route, entry)
        else:
            yield route, entry
