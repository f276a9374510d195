"""What can go wrong, as people and programs are told: RFC 9457 problems.

A subclass is a type of problem with its word, status and title; an instance says what
happened, where, and what to do. Every type is listed in ``docs/problems.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):
    """Something a client must hear about. Rendered as application/problem+json."""

    type: ClassVar[str] = "problem"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request cannot be answered"
    default_detail: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        pointer: str | None = None,
        retry_after: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.pointer = pointer
        """JSON pointer to the place in the request's body."""
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""
        self.extra: dict[str, Any] = extra or {}

    def body(self, request_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"/problems/{self.type}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.pointer is not None:
            body["pointer"] = self.pointer
        return body | self.extra


class NotFound(Problem):
    """The same answer for what does not exist and for what the caller may not know of."""

    type = "not-found"
    status = 404
    title = "Not found"
    default_detail = "There is nothing here, or nothing that you may see."


class AccessRevoked(Problem):
    type = "access-revoked"
    status = 404
    title = "Your access to this space has ended"
    default_detail = (
        "You could see this space once; somebody has taken that away. Put aside what was not sent yet,"
        " then remove your copy."
    )


class NoRole(Problem):
    type = "no-role"
    status = 403
    title = "You have no role in this space"
    default_detail = "You know of this space as a manager of its workspace. To open it, give yourself a role."


class ReadOnly(Problem):
    type = "read-only"
    status = 403
    title = "You may only read this space"
    default_detail = "Ask an owner of the space for the role of an editor."


class NotAllowed(Problem):
    type = "not-allowed"
    status = 403
    title = "Your role does not allow this"
    default_detail = "Ask an owner of the space or a manager of the workspace."


class SpaceArchived(Problem):
    type = "space-archived"
    status = 409
    title = "The space is archived"
    default_detail = "It can be read, but not changed, until an owner takes it out of the archive."


class Unauthenticated(Problem):
    type = "unauthenticated"
    status = 401
    title = "Sign in first"
    default_detail = "Send a device token as 'Authorization: Token …', or sign in with the browser."


class DeviceRevoked(Problem):
    type = "device-revoked"
    status = 401
    title = "This device's token no longer counts"
    default_detail = "It was revoked or has ended. Sign in again to get a new one; nothing local is lost."


class InvalidValue(Problem):
    """A value that was read but cannot be taken; `pointer` says which."""

    type = "invalid-value"
    status = 400
    title = "A value cannot be taken"


class PrivateSpace(Problem):
    type = "private-space"
    status = 409
    title = "The space is private"
    default_detail = "Nobody but you can have a role in it. Make it a shared space first, then give roles."


class LastOwner(Problem):
    type = "last-owner"
    status = 409
    title = "A shared space would be left without an owner"


class LastManager(Problem):
    type = "last-manager"
    status = 409
    title = "The workspace would be left without a manager"
    default_detail = "Make somebody else a manager first."


class StillShared(Problem):
    type = "still-shared"
    status = 409
    title = "Somebody else has a role in this space"
    default_detail = "Take away the roles of all other people and groups first, then make it private."


class NameTaken(Problem):
    type = "name-taken"
    status = 409
    title = "The name is in use"


class EmailTaken(Problem):
    type = "email-taken"
    status = 409
    title = "There is an account with this e-mail address"
    default_detail = "Sign in with it instead."


class InvitationEnded(Problem):
    type = "invitation-ended"
    status = 410
    title = "This link no longer works"
    default_detail = "It was used, replaced or is too old. Ask the person who sent it for a new one."


class InvitationForSomebodyElse(Problem):
    type = "invitation-for-somebody-else"
    status = 403
    title = "This invitation is for another e-mail address"


class TooManyTries(Problem):
    type = "too-many-requests"
    status = 429
    title = "Too many tries"
    default_detail = (
        "Wait a little before you try to sign in again. If you forgot your password, ask a manager."
    )
