"""What must always hold, whoever does what in whatever order."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.people import PASSWORD, People, make_member
from workspaces import actions, auditing
from workspaces.access import Caller, open_space, open_workspace, roles_in, visible_spaces
from workspaces.models import AuditEntry, Group, LostAccess, Membership, Person, Space, Workspace
from workspaces.problems import (
    AccessRevoked,
    EmailTaken,
    InvalidValue,
    InvitationEnded,
    InvitationForSomebodyElse,
    LastManager,
    LastOwner,
    NotAllowed,
    NotFound,
    PrivateSpace,
    Problem,
    StillShared,
)
from workspaces.roles import Act, WorkspaceAct

pytestmark = pytest.mark.django_db

NAMES = ("ana", "ben", "cai", "dan")
who = st.sampled_from(NAMES)
space_roles = st.sampled_from(("viewer", "editor", "owner"))
workspace_roles = st.sampled_from(("manager", "member", "guest"))


class Lab(RuleBasedStateMachine):
    """Four people do anything they like with one lab and its spaces; most of it is refused."""

    @initialize()
    def begin(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        self.people = {
            name: Person.objects.create(email=f"{name}@lab.example", password="!") for name in NAMES
        }
        self.workspace = actions.create_workspace("Lab", by=self.people["ana"])
        actions.set_member_role(self.workspace.pk, "ben@lab.example", "member", by=self.people["ana"])
        actions.create_group(self.workspace.pk, "pair", ["ana@lab.example"], by=self.people["ana"])
        self.spaces = [
            actions.create_space(self.workspace.pk, "plan", "shared", by=self.people["ben"]).pk,
            actions.create_space(self.workspace.pk, "diary", "private", by=self.people["ben"]).pk,
        ]
        self.saw: set[tuple[UUID, UUID]] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.block.__exit__(None, None, None)

    def attempt(self, action, *args, by: str, **values) -> None:
        entries = AuditEntry.objects.count()
        before = self.state()
        try:
            with transaction.atomic():
                action(*args, by=self.people[by], **values)
        except Problem:
            assert self.state() == before
            assert AuditEntry.objects.count() == entries
        else:
            if self.state() != before:
                assert AuditEntry.objects.count() > entries

    def state(self) -> object:
        return (
            roles_in(self.workspace.pk),
            set(Membership.objects.values_list("person_id", "role")),
            set(Space.objects.values_list("pk", "kind", "owner_id")),
        )

    def space(self, place: int) -> UUID:
        return self.spaces[place % len(self.spaces)]

    @rule(by=who, kind=st.sampled_from(("private", "shared")))
    def create(self, by, kind):
        def create(**by):
            self.spaces.append(actions.create_space(self.workspace.pk, "more", kind, **by).pk)

        if len(self.spaces) < 5:
            self.attempt(create, by=by)

    @rule(by=who, to=who, role=space_roles, place=st.integers(0, 4))
    def share(self, by, to, role, place):
        self.attempt(actions.share_with_person, self.space(place), self.people[to].email, role, by=by)

    @rule(by=who, to=who, place=st.integers(0, 4))
    def unshare(self, by, to, place):
        self.attempt(actions.unshare_with_person, self.space(place), self.people[to].email, by=by)

    @rule(by=who, role=space_roles, place=st.integers(0, 4), everyone=st.booleans(), give=st.booleans())
    def share_with_many(self, by, role, place, everyone, give):
        space = self.space(place)
        if everyone and give:
            self.attempt(actions.share_with_everyone, space, role, by=by)
        elif everyone:
            self.attempt(actions.unshare_with_everyone, space, by=by)
        elif give:
            self.attempt(actions.share_with_group, space, "pair", role, by=by)
        else:
            self.attempt(actions.unshare_with_group, space, "pair", by=by)

    @rule(by=who, members=st.sets(who))
    def fill_group(self, by, members):
        emails = [self.people[name].email for name in sorted(members)]
        self.attempt(actions.set_group_members, self.workspace.pk, "pair", emails, by=by)

    @rule(by=who, to=who, role=workspace_roles)
    def set_role(self, by, to, role):
        self.attempt(actions.set_member_role, self.workspace.pk, self.people[to].email, role, by=by)

    @rule(by=who, to=who)
    def remove(self, by, to):
        self.attempt(actions.remove_member, self.workspace.pk, self.people[to].email, by=by)

    @rule(by=who, place=st.integers(0, 4), shared=st.booleans())
    def change_kind(self, by, place, shared):
        self.attempt(actions.make_shared if shared else actions.make_private, self.space(place), by=by)

    @rule(by=who, to=who, place=st.integers(0, 4))
    def transfer(self, by, to, place):
        self.attempt(actions.transfer_space, self.space(place), self.people[to].email, by=by)

    @invariant()
    def what_must_hold(self) -> None:
        roles = roles_in(self.workspace.pk)
        members = dict(Membership.objects.values_list("person_id", "role"))
        assert "manager" in members.values()
        for space in Space.objects.all():
            held = {person: role for (where, person), role in roles.items() if where == space.pk}
            if space.kind == "shared":
                assert "owner" in held.values()
            else:
                assert held == ({space.owner_id: "owner"} if space.owner_id in members else {})
        for person in self.people.values():
            caller = Caller(person.pk, person.email, is_superuser=True)  # which must not matter
            mine = {space.id: space for space in visible_spaces(caller)}
            for space in Space.objects.all():
                role = roles.get((space.pk, person.pk))
                manages = members.get(person.pk) == "manager"
                seen = role is not None or (manages and space.kind == "shared")
                assert (space.pk in mine) == seen
                if seen:
                    assert mine[space.pk].role == role
                else:
                    lost = LostAccess.objects.filter(space=space, person=person).exists()
                    with pytest.raises(AccessRevoked if lost else NotFound):
                        open_space(caller, space.pk, Act.KNOW)
        self.saw |= roles.keys()
        lost_rows = set(LostAccess.objects.values_list("space_id", "person_id"))
        assert lost_rows == self.saw - roles.keys()
        everyone = Group.objects.get(everyone=True)
        inside = set(everyone.user_set.values_list("pk", flat=True))
        assert inside == {person for person, role in members.items() if role != "guest"}


def test_no_order_of_acts_breaks_what_must_hold():
    run_state_machine_as_test(
        Lab, settings=settings(max_examples=40, stateful_step_count=30, deadline=None, database=None)
    )


def test_a_removed_member_loses_everything_and_gets_it_back(people: People):
    actions.share_with_everyone(people.space.pk, "viewer", by=people.eva.person)
    actions.create_group(people.workspace.pk, "Writers", [people.ben.email], by=people.ana.person)
    mine = actions.create_space(people.workspace.pk, "Diary", "private", by=people.ben.person)
    actions.remove_member(people.workspace.pk, people.ben.email, by=people.ana.person)
    assert visible_spaces(people.ben.caller) == []
    for space in (people.space, mine):
        with pytest.raises(AccessRevoked):
            open_space(people.ben.caller, space.pk, Act.READ)
    with pytest.raises(NotFound):
        open_workspace(people.ben.caller, people.workspace.pk, WorkspaceAct.KNOW)
    with pytest.raises(NotFound):
        open_space(people.dan.caller, people.space.pk, Act.READ)

    actions.set_member_role(people.workspace.pk, people.ben.email, "member", by=people.ana.person)
    assert open_space(people.ben.caller, mine.pk, Act.WRITE).role == "owner"
    assert open_space(people.ben.caller, people.space.pk, Act.READ).role == "viewer"
    assert not LostAccess.objects.filter(person=people.ben.person).exists()


def test_the_last_owner_and_the_last_manager_stay(people: People):
    eva, ana = people.eva, people.ana
    with pytest.raises(LastOwner, match="Memory study"):
        actions.remove_member(people.workspace.pk, eva.email, by=ana.person)
    with pytest.raises(LastOwner):
        actions.share_with_person(people.space.pk, eva.email, "viewer", by=ana.person)
    with pytest.raises(LastManager):
        actions.set_member_role(people.workspace.pk, ana.email, "member", by=ana.person)
    with pytest.raises(LastManager):
        actions.remove_member(people.workspace.pk, ana.email, by=ana.person)

    actions.transfer_space(people.space.pk, people.ben.email, by=ana.person)
    actions.remove_member(people.workspace.pk, eva.email, by=ana.person)
    assert open_space(people.ben.caller, people.space.pk, Act.SHARE).role == "owner"


def test_a_manager_who_lets_himself_in_is_seen_by_the_owner(people: People):
    actions.share_with_person(people.space.pk, people.ana.email, "viewer", by=people.ana.person)
    opened = open_space(people.eva.caller, people.space.pk, Act.SHARE)
    entry = auditing.entries_of_space(opened).first()
    assert entry is not None
    assert (entry.act, entry.by, entry.subject) == ("role-given", people.ana.person, people.ana.email)
    assert people.ana.email in [given.email for given in actions.given_roles(people.space.pk)]


def test_kinds_change_only_by_the_owner_and_alone(people: People):
    with pytest.raises(StillShared):
        actions.make_private(people.space.pk, by=people.eva.person)
    for name in ("ben", "cai"):
        actions.unshare_with_person(people.space.pk, f"{name}@lab.example", by=people.eva.person)
    with pytest.raises(NotAllowed):
        actions.make_private(people.space.pk, by=people.ana.person)
    actions.make_private(people.space.pk, by=people.eva.person)
    with pytest.raises(NotFound):
        open_space(people.ana.caller, people.space.pk, Act.KNOW)
    with pytest.raises(PrivateSpace):
        actions.share_with_person(people.space.pk, people.ben.email, "viewer", by=people.eva.person)
    actions.make_shared(people.space.pk, by=people.eva.person)
    assert open_space(people.ana.caller, people.space.pk, Act.KNOW).role is None


def test_guests(people: People):
    actions.share_with_person(people.space.pk, people.dan.email, "viewer", by=people.eva.person)
    assert open_workspace(people.dan.caller, people.workspace.pk, WorkspaceAct.KNOW).role == "guest"
    with pytest.raises(NotAllowed):
        open_workspace(people.dan.caller, people.workspace.pk, WorkspaceAct.MEET)
    with pytest.raises(NotAllowed):
        actions.create_space(people.workspace.pk, "Mine", "private", by=people.dan.person)
    other = actions.create_space(people.workspace.pk, "All", "shared", by=people.eva.person)
    actions.share_with_everyone(other.pk, "editor", by=people.eva.person)
    assert open_space(people.cai.caller, other.pk, Act.WRITE).role == "editor"
    with pytest.raises(NotFound):
        open_space(people.dan.caller, other.pk, Act.KNOW)


def test_invitations(people: People):
    first = actions.share_with_person(people.space.pk, "Fay@lab.example", "viewer", by=people.eva.person)
    second = actions.share_with_person(people.space.pk, "fay@lab.example", "editor", by=people.eva.person)
    joins = actions.set_member_role(people.workspace.pk, "fay@lab.example", "member", by=people.ana.person)
    assert isinstance(first, actions.Invited)
    assert isinstance(second, actions.Invited)
    assert isinstance(joins, actions.Invited)
    fay, gus = make_member("Fay"), make_member("Gus")
    with pytest.raises(InvitationEnded):
        actions.accept_invitation(first.token, fay.person)
    with pytest.raises(InvitationForSomebodyElse):
        actions.accept_invitation(second.token, gus.person)
    actions.accept_invitation(second.token, fay.person)
    assert open_space(fay.caller, people.space.pk, Act.WRITE).role == "editor"
    assert open_workspace(fay.caller, people.workspace.pk, WorkspaceAct.MEET).role == "member"
    for used in (second, joins):
        with pytest.raises(InvitationEnded):
            actions.accept_invitation(used.token, fay.person)


def test_an_invitation_is_taken_back_with_the_role(people: People):
    invited = actions.share_with_person(people.space.pk, "fay@lab.example", "owner", by=people.eva.person)
    assert isinstance(invited, actions.Invited)
    actions.unshare_with_person(people.space.pk, "fay@lab.example", by=people.eva.person)
    with pytest.raises(InvitationEnded):
        actions.accept_invitation(invited.token, make_member("Fay").person)
    with pytest.raises(NotFound):
        actions.unshare_with_person(people.space.pk, "fay@lab.example", by=people.eva.person)


def test_private_spaces_of_leavers_are_handed_over_by_a_superuser_only(people: People):
    leave = (people.eva.email, people.ben.email)
    with pytest.raises(NotAllowed):
        actions.hand_over_private_spaces(*leave, by=people.ana.person)
    assert actions.hand_over_private_spaces(*leave, by=people.root.person) == []  # she has not left
    actions.transfer_space(people.space.pk, people.ben.email, by=people.ana.person)
    actions.remove_member(people.workspace.pk, people.eva.email, by=people.ana.person)
    (handed,) = actions.hand_over_private_spaces(*leave, by=people.root.person)
    assert handed.pk == people.private.pk
    assert open_space(people.ben.caller, people.private.pk, Act.WRITE).role == "owner"
    entry = AuditEntry.objects.get(act="space-handed-over")
    assert (entry.by, entry.private) == (people.root.person, True)


def test_names_addresses_and_passwords(people: People):
    for email in ("", "no at", "a@b@c", "\0@lab.example", "a" * 300 + "@lab.example", "\ud800@lab.example"):
        with pytest.raises(InvalidValue):
            actions.register(email, PASSWORD)
    for password in ("short", "password1234", "1234567890123", "\ud800" * 12, "new\0new\0new\0", "x" * 2000):
        with pytest.raises(InvalidValue):
            actions.register("new@lab.example", password)
    with pytest.raises(EmailTaken):
        actions.register("ANA@lab.example", PASSWORD)
    for name in ("", "  ", "a\nb", "x" * 201, "\ud800"):
        with pytest.raises(InvalidValue):
            actions.create_workspace(name, by=people.ana.person)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE workspaces_auditentry SET act = 'other'",
        "DELETE FROM workspaces_auditentry",
        "TRUNCATE workspaces_auditentry",
    ],
)
def test_the_audit_trail_is_only_added_to(people: People, statement: str):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE workspaces_auditentry ENABLE TRIGGER never_emptied")
        with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
            cursor.execute(statement)


def test_private_days_stay_private_in_the_audit_trail(people: People):
    actions.rename_space(people.private.pk, "Very secret", by=people.eva.person)
    for_ana = auditing.entries_for_manager(people.ana.id)
    assert for_ana.exists()
    assert not for_ana.filter(space_id=people.private.pk).exists()
    actions.make_shared(people.private.pk, by=people.eva.person)
    assert set(for_ana.filter(space_id=people.private.pk).values_list("act", flat=True)) == {
        "space-made-shared"
    }


def test_one_query_opens_a_space(people: People, django_assert_num_queries):
    for member in (people.ana, people.ben, people.cai, people.eva):
        with _count_statements() as statements:
            open_space(member.caller, people.space.pk, Act.KNOW)
        assert len(statements) == 1


class _count_statements:
    """What is sent through psycopg itself, past Django."""

    def __enter__(self) -> list[str]:
        from unittest import mock

        import psycopg

        self.sent: list[str] = []
        execute = psycopg.Cursor.execute

        def counted(cursor, query, *args, **values):
            self.sent.append(query)
            return execute(cursor, query, *args, **values)

        self.patch = mock.patch.object(psycopg.Cursor, "execute", counted)
        self.patch.start()
        return self.sent

    def __exit__(self, *exception: object) -> None:
        self.patch.stop()


def test_workspace_names_need_not_be_unique(people: People):
    again = actions.create_workspace(people.workspace.name, by=people.ana.person)
    assert Workspace.objects.filter(name=again.name).count() == 2


def test_of_a_list_each_is_done_or_refused_for_itself(people: People) -> None:
    wanted = [
        ("new@lab.example", "member"),
        (people.ana.email, "guest"),
        ("nobody", "member"),
        (people.ben.email, "manager"),
        (people.ana.email, "member"),
    ]
    outcomes = actions.set_member_roles(people.workspace.pk, wanted, by=people.ana.person)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [actions.Invited, LastManager, InvalidValue, Membership, Membership]
    roles = dict(Membership.objects.filter(workspace=people.workspace).values_list("person__email", "role"))
    assert (roles[people.ana.email], roles[people.ben.email]) == ("member", "manager")
