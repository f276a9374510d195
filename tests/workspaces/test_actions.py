import pytest

from workspaces import actions as a
from workspaces.access import Caller, visible_spaces
from workspaces.models import LostAccess


@pytest.mark.django_db
def test_story():
    ana = a.register("Ana@lab.org", "correct horse battery", "Ana")
    ben = a.register("ben@lab.org", "correct horse battery")
    w = a.create_workspace("Lab", by=ana)
    a.set_member_role(w.pk, "ben@lab.org", "member", by=ana)
    s = a.create_space(w.pk, "Plan", "shared", by=ben)
    print(a.given_roles(s.pk))
    print(a.share_with_person(s.pk, "zed@x.org", "editor", by=ana))
    a.share_with_person(s.pk, "ana@lab.org", "owner", by=ana)
    a.share_with_everyone(s.pk, "viewer", by=ana)
    print(a.given_roles(s.pk))
    a.remove_member(w.pk, "ben@lab.org", by=ana)
    print(visible_spaces(Caller(ben.pk, "")), LostAccess.objects.all())
    d, t = a.issue_device(ana, "x")
    a.issue_device(ana.pk, "x", made_by=d.pk, by=ana)
    a.revoke_device(d.pk, by=ana)


@pytest.mark.django_db(transaction=True)
def test_fixture(people):
    assert people.space


@pytest.mark.django_db(transaction=True)
def test_fixture2(people):
    assert people.space
