"""Pages of the documentation that are drawn from the code, so that they cannot say something else."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Final

from workspaces.problems import Problem
from workspaces.roles import MAY, MAY_IN_WORKSPACE, Act, Standing, WorkspaceAct

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_PACKAGES: Final = ("logomesh_server", "workspaces", "sync", "migration")
_NOTE: Final = "<!-- Drawn from the code by `make reference`. Change the code, not this page. -->\n"


def pages() -> Mapping[Path, str]:
    """Where each drawn page lies, and what it says."""
    return {DOCS / "problems.md": problems_page(), DOCS / "roles.md": roles_page()}


def problems_page() -> str:
    """Every type of error, by status."""
    rows = sorted(
        {(kind.status, kind.type, kind.title, kind.default_detail or "") for kind in _problem_kinds()}
    )
    lines = [f"| `{type_}` | {status} | {title} | {detail} |" for status, type_, title, detail in rows]
    return (
        f"# Errors\n\n{_NOTE}\n"
        "Every error is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):\n"
        "`type` ends in one of these words, `title` and `detail` say what happened and what to do,\n"
        "`pointer` names the place in the request, and `request_id` is in the server's log.\n"
        "429 and 503 carry `Retry-After` in seconds.\n\n"
        "| type | status | title | what to do |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def roles_page() -> str:
    """Who may do what, from the literals that the server decides by."""
    spaces = _table(
        [standing.value for standing in Standing],
        {act.value: [standing in MAY[act] for standing in Standing] for act in Act},
    )
    roles = ["manager", "member", "guest"]
    workspaces = _table(
        roles, {act.value: [role in MAY_IN_WORKSPACE[act] for role in roles] for act in WorkspaceAct}
    )
    return (
        f"# Who may do what\n\n{_NOTE}\n"
        "## In a shared space\n\n"
        f"{spaces}\n"
        "A workspace manager may take a role in a shared space; that is audited and its owners see it.\n\n"
        "## In a private space\n\n"
        "Its owner may do everything. Nobody else, managers and superusers included, sees that it exists:\n"
        "it answers as an id that never was. What a leaver's private spaces become is decided by a\n"
        "superuser at the command line (`manage.py handover`), and that is audited.\n\n"
        "## In a workspace\n\n"
        f"{workspaces}\n"
        "To everybody else a workspace is unknown.\n"
    )


def _table(columns: list[str], rows: Mapping[str, list[bool]]) -> str:
    head = f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    return head + "".join(
        f"| {name} | {' | '.join('yes' if may else '–' for may in cells)} |\n" for name, cells in rows.items()
    )


def _problem_kinds() -> Iterator[type[Problem]]:
    for name in _PACKAGES:
        package = import_module(name)
        for module in walk_packages(package.__path__, f"{name}."):
            if module.name.rpartition(".")[2] in ("problems", "endpoint", "signing_in"):
                import_module(module.name)
    waiting = [Problem]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting.extend(kinds)
        yield from (kind for kind in kinds if kind.__module__.partition(".")[0] in _PACKAGES)
