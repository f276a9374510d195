"""Links by which people come in: to the first account of a server, and to a workspace.

A link is enough. It is also mailed where the server can send mail, but nothing waits for that.
"""

from __future__ import annotations

import logging
from secrets import token_urlsafe
from smtplib import SMTPException

from django.core.mail import send_mail
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _

from workspaces import actions
from workspaces.actions import Invited
from workspaces.models import Invitation, Person, WorkspaceRole
from workspaces.problems import InvalidValue, InvitationEnded
from workspaces.signing_in import hash_of_token
from workspaces.values import email_address

logger = logging.getLogger(__name__)


def first_account_link(base_url: str) -> str:
    """A link that makes the first account, once; the link that was given before no longer works.

    Raises `InvitationEnded` where there is an account already.
    """
    token = token_urlsafe(32)
    with transaction.atomic():
        if Person.objects.exists():
            raise InvitationEnded
        Invitation.objects.filter(workspace=None).delete()
        Invitation.objects.create(
            workspace=None,
            role=WorkspaceRole.MANAGER,
            token_hash=hash_of_token(token),
            expires_at=actions.UNTIL_USED,
        )
    return f"{base_url.rstrip('/')}/welcome/{token}"


def join_link(base_url: str, token: str) -> str:
    return f"{base_url.rstrip('/')}/join/{token}"


def invitation_for(token: str) -> Invitation:
    """The invitation that a link stands for; without a workspace, it is for the first account.

    Raises `InvitationEnded`.
    """
    return _waiting(token, lock=False)


def accept(token: str, *, email: str, name: str, password: str) -> Person:
    """Make an account by a link, and join what the link leads to.

    The first account is a superuser's: whoever holds that link runs the server. It sees no space
    of others for that. Raises `InvitationEnded`, `InvalidValue` or `EmailTaken`. Who has an account
    already signs in and takes `actions.accept_invitation`.
    """
    with transaction.atomic():
        invitation = _waiting(token, lock=True)
        if invitation.workspace_id is None:
            person = actions.register(email, password, name, is_superuser=True)
            invitation.accepted_at, invitation.accepted_by = now(), person
            invitation.save(update_fields=["accepted_at", "accepted_by"])
        else:
            if email_address(email) != invitation.email:
                raise InvalidValue(f"This invitation is for {invitation.email}.", pointer="/email")
            person = actions.register(email, password, name)
            actions.accept_invitation(token, person)
    return person


def deliver(invited: Invited, workspace: str, inviter: str, base_url: str) -> str:
    """The link for somebody who was invited, which is mailed to them if the server can."""
    link = join_link(base_url, invited.token)
    try:
        send_mail(
            _("%(inviter)s invites you to %(workspace)s on LogoMesh")
            % {"inviter": inviter, "workspace": workspace},
            _("Open this link to join. It works until %(date)s:\n\n%(link)s\n")
            % {"date": invited.expires_at.date().isoformat(), "link": link},
            None,
            [invited.email],
        )
    except (SMTPException, OSError) as error:
        logger.warning("an invitation was not mailed: %s", error.__class__.__name__)
    return link


def _waiting(token: str, *, lock: bool) -> Invitation:
    invitations = Invitation.objects.select_for_update(of=("self",)) if lock else Invitation.objects
    found = (
        invitations.filter(token_hash=hash_of_token(token), accepted_at=None, expires_at__gt=now())
        .select_related("workspace", "space")
        .first()
    )
    if found is None or (found.workspace_id is None and Person.objects.exists()):
        raise InvitationEnded
    return found
