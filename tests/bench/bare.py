"""A bare Django view with one SELECT, behind the same intake: what an answer costs at the least.

Served with DJANGO_SETTINGS_MODULE=tests.bench.bare_settings.
"""

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path


def one_select(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT head FROM sync_spacehead LIMIT 1")
        return HttpResponse(str(cursor.fetchone()))


urlpatterns = [path("bare", one_select)]
