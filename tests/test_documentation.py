"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link]
    broken = [link for link in links if not (document.parent / link).exists()]
    assert not broken, f"{document.relative_to(ROOT)} points at what is not there"


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not {name for name in pages if f"({name})" not in index}


PACKAGES = ("logomesh_server", "workspaces", "sync", "migration")
READ = re.compile(
    r"""(?:env\.(?:text|flag|number|choice|listing)\(|environ(?:\.get\(|\[))\s*"([A-Z][A-Z_]+)\""""
)
OF_THE_SURROUNDINGS = {"PGSSLMODE", "PGSSLROOTCERT", "SQLITE_TMPDIR"}
OF_REQUESTS = {"HTTP_X_REQUEST_ID", "REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT"}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_variable_is_explained() -> None:
    from logomesh_server.env import KNOWN_OWN_NAMES

    read = (
        {
            name
            for package in PACKAGES
            for path in (ROOT / package).rglob("*.py")
            for name in READ.findall(path.read_text(encoding="utf-8"))
        }
        - OF_THE_SURROUNDINGS
        - OF_REQUESTS
    )
    names = read | {name for name in KNOWN_OWN_NAMES if not name.endswith("_FILE")}
    assert len(names) > 25
    configuration = page("configuration.md")
    assert not {name for name in names if f"| `{name}` |" not in configuration}
    listed = set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", configuration, re.M))
    assert listed <= names, "a variable that nothing reads is explained"


def test_every_command_is_explained() -> None:
    commands = {
        path.stem for package in PACKAGES for path in (ROOT / package).glob("management/commands/[a-z]*.py")
    }
    assert len(commands) > 10
    configuration = page("configuration.md")
    assert not {name for name in commands if not re.search(rf"^\| `(.*`, `)?{name}\b", configuration, re.M)}


def test_operations_explain_every_figure_and_every_finding() -> None:
    from logomesh_server import checks, counting, doctor
    from logomesh_server.database.verdicts import STEPS

    operations = page("operations.md")
    assert not {name for name in counting._HELP if f"`{name}`" not in operations}
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    findings = set(re.findall(r'Verdict\(\s*"([a-z-]+)"', source)) | set(STEPS)
    assert len(findings) > 20
    assert not {name for name in findings if f"| `{name}` |" not in operations}
    ids = set(re.findall(r"logomesh\.[WE]\d{3}", Path(checks.__file__).read_text(encoding="utf-8")))
    assert not {id_ for id_ in ids if f"`{id_}`" not in operations}


def test_everything_to_deploy_is_linked() -> None:
    operations = page("operations.md")
    for path in (ROOT / "docs" / "deploy").iterdir():
        shown = path.name in operations or f"*{path.suffix}" in operations
        assert shown, f"{path.name} is mentioned nowhere"
