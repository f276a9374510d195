"""Coming in: the first account, invitations, signing in and out."""

from __future__ import annotations

from typing import Any

from django.contrib import auth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from workspaces import actions, invitations
from workspaces.models import Person
from workspaces.pages import keeping
from workspaces.pages.visiting import caller_of, told
from workspaces.problems import Problem, Unauthenticated
from workspaces.signing_in import sign_in as open_session


@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """The first account of an installation, and its first workspace."""
    invitations.invitation_for(token)
    filled, problem = _filled(request, "name", "email", "workspace"), None
    if request.method == "POST":
        try:
            person = invitations.accept(token, password=request.POST.get("password", ""), **_account(filled))
            _enter(request, person)
            actions.create_workspace(filled["workspace"] or _("My lab"), by=caller_of(request))
            told(request, _("Welcome. Make a space, then import a LogoMesh file into it or invite somebody."))
            return redirect("/")
        except Problem as found:
            problem = found
    context = {"filled": filled, "problem": problem}
    return render(request, "workspaces/welcome.html", context, status=400 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """An invitation: with the account that one has, or with a new one."""
    invitation = invitations.invitation_for(token)
    known = Person.objects.filter(email=invitation.email).exists()
    filled, problem = _filled(request, "name"), None
    if request.method == "POST":
        try:
            if request.user.is_authenticated:
                person: Any = request.user
                actions.accept_invitation(token, person)
            elif known:
                person = open_session(request, invitation.email, request.POST.get("password", ""))
                actions.accept_invitation(token, person)
            else:
                password = request.POST.get("password", "")
                _enter(
                    request,
                    invitations.accept(token, email=invitation.email, name=filled["name"], password=password),
                )
            told(request, _("You are in. These are the spaces that you may see."))
            return redirect("/")
        except Problem as found:
            problem = found
    context = {"invitation": invitation, "known": known, "filled": filled, "problem": problem}
    return render(request, "workspaces/join.html", context, status=400 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in and go on where one was; with what one was writing when the session ended."""
    following = keeping.own_address(request, request.POST.get("next") or request.GET.get("next") or "/")
    filled, problem = _filled(request, "email"), None
    kept = keeping.brought(request, following)
    if request.user.is_authenticated and request.method != "POST":
        return redirect(following)
    if request.method == "POST":
        try:
            open_session(request, filled["email"], request.POST.get("password", ""))
            return keeping.send_again(request, kept) if kept.has_words else redirect(following)
        except Unauthenticated as found:
            problem = found
    context = {"filled": filled, "problem": problem, "next": following, "kept": kept.carried()}
    return render(request, "workspaces/sign_in.html", context, status=400 if problem else 200)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return redirect("/sign-in")


def _filled(request: HttpRequest, *names: str) -> dict[str, str]:
    """What was typed, so that nobody has to type it again."""
    return {name: request.POST.get(name, "").strip() for name in names}


def _account(filled: dict[str, str]) -> dict[str, str]:
    return {"email": filled["email"], "name": filled["name"]}


def _enter(request: HttpRequest, person: Person) -> None:
    auth.login(request, person, backend="workspaces.signing_in.PasswordBackend")
