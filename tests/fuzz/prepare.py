"""Makes the world of a run in a fresh database, and prints who has which token. A process of its own."""

from __future__ import annotations

import json
import sys

import django

PEOPLE = ("eva", "ben", "cai", "dan", "ana")


def main(devices: int, spaces: int) -> None:
    django.setup()
    from django.core.management import call_command

    from workspaces import actions

    call_command("migrate", verbosity=0, interactive=False)
    people = {
        name: actions.register(f"{name}@lab.example", None, name.title(), any_password=True)
        for name in PEOPLE
    }
    workspace = actions.create_workspace("Lab", by=people["ana"])
    for name in PEOPLE[:-1]:
        actions.set_member_role(workspace.pk, f"{name}@lab.example", "member", by=people["ana"])
    made = []
    for number in range(spaces):
        owner = people["eva" if number % 2 == 0 else "ben"]
        made.append(
            str(actions.create_space(workspace.pk, f"Space {number}", "shared", by=owner, owner=owner).pk)
        )
    tokens = {"devices": [], "readers": []}
    for kind, count in (("devices", devices), ("readers", 3)):
        for number in range(count):
            name, device = PEOPLE[number % len(PEOPLE)], f"{kind[:-1]} {number}"
            _, token = actions.issue_device(people[name], device)
            tokens[kind].append([name, device, token])
    print(json.dumps({"spaces": made, **tokens}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
