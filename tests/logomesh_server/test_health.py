"""Whether the server tells truly how it is."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from logomesh_server import counting
from sync.models import DeviceCursor


def test_alive_says_so_without_a_database(client: Client) -> None:
    assert client.get("/livez").content == b"ok\n"


@pytest.mark.django_db
def test_ready_names_the_parts(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": "ok", "disk": "ok", "redis": "ok"}


@pytest.mark.django_db
def test_ready_without_redis_is_still_ready(client: Client, settings, tmp_path) -> None:
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": f"unix://{tmp_path}/none.sock"},
    }
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["redis"] == "away"


def test_about_needs_no_sign_in_and_tells_the_limits(client: Client) -> None:
    about = client.get("/api/v1/about").json()
    assert about["name"] == "LogoMesh Server"
    assert about["protocol_versions"] == [1]
    assert about["limits"]["max_changes"] == 1_000
    assert about["limits"]["max_push_bytes"] == 32 * 1024**2
    assert about["limits"]["max_record_bytes"] == 256 * 1024**2


@pytest.mark.django_db
def test_metrics_are_for_this_machine_only(client: Client) -> None:
    counting.count("logomesh_requests_total", 3, method="GET", status=200)
    here = client.get("/metrics")
    assert here.status_code == 200
    assert 'logomesh_requests_total{method="GET",status="200"} ' in here.text
    assert "logomesh_database_up 1" in here.text
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7").status_code == 404
    assert client.get("/metrics", HTTP_X_FORWARDED_FOR="192.0.2.7").status_code == 404


@pytest.mark.django_db
def test_metrics_with_a_token_are_for_its_bearer(client: Client, settings) -> None:
    settings.METRICS_TOKEN = "secret"
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 404
    answer = client.get("/metrics", HTTP_AUTHORIZATION="Bearer secret", REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 200


@pytest.mark.django_db
def test_metrics_tell_of_devices_jobs_conflicts_and_pools(client: Client, people) -> None:
    device = people.ben.device
    change = {"change_id": "01980000-0000-7000-8000-000000000001", "type": "thoughts", "id": "t1", "base": 0}
    address = f"/api/v1/spaces/{people.space.pk}/changes"
    cursor = client.get(address, headers=people.ben.headers).json()["cursor"]
    assert client.get(address, {"cursor": cursor}, headers=people.ben.headers).status_code == 200
    body = {"changes": [{**change, "set": {"title": "One"}}]}
    pushed = client.post(address, body, content_type="application/json", headers=people.eva.headers)
    assert pushed.status_code == 200, pushed.content
    counting.gauge("logomesh_streams", 3)
    told = client.get("/metrics").text
    assert f'logomesh_device_lag_versions{{device="{device.pk}"}} 1' in told
    assert f'logomesh_device_seen_seconds{{device="{device.pk}"}} ' in told
    assert 'logomesh_database_connections{state="active"} ' in told
    assert "logomesh_streams 3" in told
    assert "logomesh_pool_requests_total" in told
    # An alarm for devices whose deletions will be forgotten must see them until then.
    month, half_year = timezone.now() - timedelta(days=31), timezone.now() - timedelta(days=181)
    DeviceCursor.objects.filter(device=device).update(seen_at=month)
    assert f'device="{device.pk}"' in client.get("/metrics").text
    DeviceCursor.objects.filter(device=device).update(seen_at=half_year)
    assert f'device="{device.pk}"' not in client.get("/metrics").text
    for secret in (people.ben.email, people.space.name, "One", people.ben.token):
        assert secret not in told
