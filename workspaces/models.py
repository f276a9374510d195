"""People, their workspaces and spaces, who may do what, and what was done."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.auth.models import Group as AuthGroup
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from workspaces.ids import uuid7


class People(BaseUserManager["Person"]):
    def create_user(self, email: str, password: str | None = None, **values: Any) -> Person:
        person = self.model(email=email.strip().lower(), **values)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def create_superuser(self, email: str, password: str | None = None, **values: Any) -> Person:
        return self.create_user(email, password, is_superuser=True, **values)

    def get_by_natural_key(self, username: str | None) -> Person:
        return self.get(email=(username or "").strip().lower())


class Person(AbstractBaseUser, PermissionsMixin):
    """Somebody with an account. The e-mail address is the name to sign in with."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    """Always in lower case: nobody means two people by Ana@ and ana@."""
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[People] = People()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        verbose_name_plural = "people"
        constraints = [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="person_email")]

    def __str__(self) -> str:
        return self.name or self.email


class Workspace(models.Model):
    """A lab."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class WorkspaceRole(models.TextChoices):
    MANAGER = "manager"
    MEMBER = "member"
    GUEST = "guest"


class Membership(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="memberships")
    person = models.ForeignKey(Person, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=WorkspaceRole)
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = gettext_lazy("member")
        constraints = [models.UniqueConstraint(fields=["workspace", "person"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.person} ({self.role})"


class Group(AuthGroup):
    """People of a workspace who are given roles together."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="groups")
    label = models.CharField(max_length=120)
    everyone = models.BooleanField(default=False)
    """The one group of a workspace that holds all its managers and members, but no guests."""

    objects: ClassVar[models.Manager[Group]] = models.Manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("label"),
                "workspace",
                name="group_label",
                violation_error_message=gettext_lazy(
                    "There is a group of this name in the workspace already."
                ),
            ),
            models.UniqueConstraint(
                fields=["workspace"], condition=models.Q(everyone=True), name="group_everyone"
            ),
        ]

    def __str__(self) -> str:
        return self.label


class SpaceKind(models.TextChoices):
    PRIVATE = "private"
    SHARED = "shared"


class Space(models.Model):
    """A thought space: the unit of sharing and of sync."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="spaces")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=7, choices=SpaceKind)
    owner = models.ForeignKey(Person, models.PROTECT, related_name="+")
    """Who made it, or took it over. The only one who ever sees it while it is private."""
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        permissions = [
            ("viewer_space", "May read the space"),
            ("editor_space", "May change what is in the space"),
            ("owner_space", "May share the space"),
        ]

    def __str__(self) -> str:
        return self.name


class SpaceUserPermission(UserObjectPermissionBase):
    """A role of one person in a space."""

    content_object = models.ForeignKey(Space, models.CASCADE)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["content_object", "user"], name="one_role_of_a_person")
        ]


class SpaceGroupPermission(GroupObjectPermissionBase):
    """A role of a group in a space."""

    content_object = models.ForeignKey(Space, models.CASCADE)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["content_object", "group"], name="one_role_of_a_group")
        ]


class Device(models.Model):
    """One installed client of one person, with its token."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    person = models.ForeignKey(Person, models.CASCADE, related_name="devices")
    name = models.CharField(max_length=200)
    token_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    """SHA-256 of the token, which nobody keeps: it has 256 random bits, so no salt is needed."""
    made_by = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="clones")
    """The device whose token asked for this one: a copied file gets an identity of its own."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    client = models.CharField(max_length=80, blank=True, default="", db_default="")
    """The program that spoke last, and its version, as it calls itself."""

    def __str__(self) -> str:
        return self.name


class SignInTries(models.Model):
    """How often somebody tried to sign in lately: to one account, or from one address."""

    key = models.CharField(primary_key=True, max_length=80)
    tries = models.IntegerField()
    since = models.DateTimeField()

    class Meta:
        default_permissions = ()
        verbose_name_plural = "sign-in tries"

    def __str__(self) -> str:
        return f"{self.key}: {self.tries}"


class LostAccess(models.Model):
    """Somebody could see a space once. Their devices are told so; a stranger is told nothing."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    space = models.ForeignKey(Space, models.CASCADE, related_name="+")
    person = models.ForeignKey(Person, models.CASCADE, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["space", "person"], name="lost_access_once")]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.space_id}"


class Invitation(models.Model):
    """A link by which somebody joins a workspace, and gets roles in spaces that wait for them."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="invitations", null=True)
    """None: the link to the first account of an installation."""
    email = models.EmailField(max_length=254, blank=True)
    role = models.CharField(max_length=8, choices=WorkspaceRole)
    space = models.ForeignKey(Space, models.CASCADE, related_name="+", null=True, blank=True)
    space_role = models.CharField(max_length=6, blank=True)
    token_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(Person, models.CASCADE, related_name="+", null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(Person, models.SET_NULL, related_name="+", null=True, blank=True)

    def __str__(self) -> str:
        return self.email or "first account"


class AuditEntry(models.Model):
    """Who did what to whom, written in the transaction of the act. Nothing is changed or removed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="+", null=True)
    space_id = models.UUIDField(null=True)
    private = models.BooleanField(default=False)
    """About a private space: for its owner's eyes only."""
    by = models.ForeignKey(Person, models.PROTECT, related_name="+", null=True)
    """None: somebody at the server's command line."""
    act = models.CharField(max_length=40)
    subject = models.CharField(max_length=254, blank=True)
    """The person, group or device that it was done to."""
    details = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["workspace", "-at"], name="audit_workspace")]

    def __str__(self) -> str:
        return f"{self.act} {self.subject}".strip()
