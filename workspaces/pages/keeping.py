"""What somebody typed into a form that cannot be taken now: it is kept in the answer until it can be.

A session may end while somebody writes. Then the answer asks them to sign in and carries the words with it;
signed in, they see their words and send them on. Nothing of it is stored on the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy

PREFIX: Final = "kept."
"""Before the name of a field that the form for signing in carries along."""
_WRITTEN: Final = {
    "title": gettext_lazy("Title"),
    "description": gettext_lazy("Description"),
    "content": gettext_lazy("Text"),
    "name": gettext_lazy("Name"),
}
"""Fields that somebody writes, with their names in words. The others are carried along unseen."""
_SECRET: Final = ("csrfmiddlewaretoken", "password")


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    value: str

    @property
    def label(self) -> str | Promise:
        return _WRITTEN.get(self.name.removeprefix(PREFIX).removeprefix("field."), "")


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was sent, and the address that it was sent to."""

    to: str
    fields: tuple[Field, ...]

    @property
    def has_words(self) -> bool:
        return any(field.label and field.value.strip() for field in self.fields)

    def carried(self) -> tuple[Field, ...]:
        """The fields, as the form for signing in carries them."""
        return tuple(Field(PREFIX + field.name, field.value) for field in self.fields)


def sent(request: HttpRequest) -> Form:
    """The form of a request, without its secrets."""
    return Form(
        request.get_full_path(),
        tuple(
            Field(name, value)
            for name, values in request.POST.lists()
            if name not in _SECRET
            for value in values
        ),
    )


def brought(request: HttpRequest, to: str) -> Form:
    """The form that the form for signing in carried along."""
    return Form(
        to,
        tuple(
            Field(field.name.removeprefix(PREFIX), field.value)
            for field in sent(request).fields
            if field.name.startswith(PREFIX)
        ),
    )


def sign_in_first(request: HttpRequest, form: Form) -> HttpResponse:
    """The page for signing in, with what was typed."""
    context = {"filled": {}, "next": form.to, "kept": form.carried()}
    return render(request, "workspaces/sign_in.html", context, status=401)


def send_again(request: HttpRequest, form: Form, status: int = 200) -> HttpResponse:
    """What was typed, to be sent once more."""
    return render(request, "workspaces/kept.html", {"form": form}, status=status)


def own_address(request: HttpRequest, address: str) -> str:
    """An address of this server, never of another."""
    own = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if own else "/"


def page_of_form(request: HttpRequest) -> str:
    """The page of this server on which the form of a request stood, by its path and query."""
    came_from = own_address(request, request.headers.get("Referer", "/"))
    return came_from.removeprefix(f"{request.scheme}://{request.get_host()}") or "/"


def is_own_form(request: HttpRequest) -> bool:
    """Whether the browser says that a page of this server sent the form."""
    return request.headers.get("Sec-Fetch-Site") == "same-origin"
