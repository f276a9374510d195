"""What all pages have in common: who looks at them, and problems that are told on the page one came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from workspaces.access import Caller
from workspaces.models import Person
from workspaces.pages import keeping
from workspaces.problems import Problem

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
MemberView = Callable[Concatenate[HttpRequest, Caller, P], HttpResponseBase]


def member_page(*methods: str) -> Callable[[MemberView[P]], View[P]]:
    """A page for people who are signed in. All others are sent to sign in and back, with what they typed."""

    def decorate(view: MemberView[P]) -> View[P]:
        @require_http_methods([*methods, "HEAD"] if "GET" in methods else list(methods))
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                if request.method == "POST" and (form := keeping.sent(request)).has_words:
                    return keeping.sign_in_first(request, form)
                here = request.method in ("GET", "HEAD")
                back = request.get_full_path() if here else keeping.page_of_form(request)
                sign_in = f"/sign-in?{urlencode({'next': back})}"
                if request.headers.get("HX-Request"):  # else the form would stand inside the page
                    return HttpResponse(headers={"HX-Redirect": sign_in})
                return redirect(sign_in)
            return view(request, caller_of(request), *args, **kwargs)

        return cast(View[P], guarded)

    return decorate


def caller_of(request: HttpRequest) -> Caller:
    """The person at the browser, who is signed in."""
    person: Any = request.user
    return Caller(person.pk, person.email, None, person.is_superuser)


@contextmanager
def telling(request: HttpRequest) -> Iterator[None]:
    """What goes wrong with a form is told above the page that follows; the form had no effect.

    What may not be known of, or is past the form's power, keeps its own page.
    """
    try:
        yield
    except Problem as problem:
        if problem.status in (401, 403, 404):
            raise
        messages.error(request, f"{problem.title}. {problem.detail}" if problem.detail else problem.title)


def told(request: HttpRequest, text: str) -> None:
    messages.success(request, text)


def names_of(emails: set[str]) -> dict[str, str]:
    """What people call themselves, by their address; who gave no name is left out."""
    return dict(Person.objects.filter(email__in=emails).exclude(name="").values_list("email", "name"))
