"""docker-compose.yml: valid against the Compose Specification, and hardened as the docs say."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
OURS = ("web", "worker", "beat")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_it_is_valid(compose: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    jsonschema.validate(compose, schema, jsonschema.Draft202012Validator)


def test_it_has_the_services(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"postgres", "redis", *OURS} <= services.keys()
    assert services["postgres"]["image"] == "pgvector/pgvector:pg15"
    for name in ("postgres", "redis", *OURS):
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["healthcheck"]["start_period"], name


@pytest.mark.parametrize("name", ["migrate", *OURS])
def test_our_containers_can_do_little(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert not service["user"].startswith(("0", "root"))
    assert service["cap_drop"] == ["ALL"]
    assert service["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert service["environment"]["SECRET_KEY_FILE"].startswith("/run/secrets/")


def test_no_secret_and_no_database_is_open(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["web"]
    assert "PASSWORD" not in {
        key for service in compose["services"].values() for key in service.get("environment", {})
    }
    assert compose["networks"]["inside"] == {"internal": True}


def test_volumes_secrets_and_networks_that_are_used_are_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= compose["volumes"].keys()
        assert set(service.get("secrets", ())) <= compose["secrets"].keys()
        assert set(service.get("networks", ())) <= compose["networks"].keys()


def test_the_image_copies_every_app() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for app in ("logomesh_server", "workspaces", "sync", "migration"):
        assert f"COPY {app} {app}" in dockerfile
        assert f"!{app}" in ignored
    assert "USER logomesh" in dockerfile
