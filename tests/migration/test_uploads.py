"""Resumable uploads (tus 1.0) over links that break, byte for byte."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from migration import jobs, uploads
from migration.models import Import, Upload
from tests.logomesh_files import full
from tests.people import Member, People

pytestmark = pytest.mark.django_db(transaction=True)

TUS = {"Tus-Resumable": "1.0.0"}


def ask(by: Member, method: str, address: str, body: bytes = b"", **headers: str) -> HttpResponse:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().generic(  # type: ignore[return-value]
        method,
        address,
        body,
        content_type="application/offset+octet-stream",
        headers={**TUS, **by.headers, **spelled},
    )


def begin(by: Member, length: int, **about: str) -> str:
    pairs = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in about.items())
    answer = ask(by, "POST", "/api/v1/uploads", Upload_Length=str(length), Upload_Metadata=pairs)
    assert answer.status_code == 201, answer.content
    return str(answer["Location"])


def send(by: Member, address: str, offset: int, piece: bytes, **headers: str) -> HttpResponse:
    return ask(by, "PATCH", address, piece, Upload_Offset=str(offset), **headers)


def offset(by: Member, address: str) -> int:
    answer = ask(by, "HEAD", address)
    assert answer.status_code in (200, 204)
    return int(answer["Upload-Offset"])


def import_of(by: Member, space: Any, address: str) -> HttpResponse:
    body = {"upload": address.rpartition("/")[2], "space": str(space)}
    return Client().post("/api/v1/imports", body, content_type="application/json", headers=by.headers)  # type: ignore[return-value]


def test_a_file_arrives_in_pieces_and_is_imported(people: People, tmp_path: Path) -> None:
    data = full(tmp_path / "lab.sqlite3", "S2x").read_bytes()
    address = begin(people.ben, len(data), filename="lab.sqlite3")
    assert import_of(people.ben, people.space.pk, address).json()["type"] == "/problems/upload-incomplete"
    half = len(data) // 2
    assert send(people.ben, address, 0, data[:half])["Upload-Offset"] == str(half)
    # A piece whose answer was lost is sent again from the old place: it is told where to go on.
    assert send(people.ben, address, 0, data[:half]).status_code == 409
    assert offset(people.ben, address) == half
    assert send(people.ben, address, half, data[half:]).status_code == 204
    answer = import_of(people.ben, people.space.pk, address)
    assert answer.status_code == 201, answer.content
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert ask(people.ben, "HEAD", address).status_code == 404
    jobs.run(Import.objects.get().pk)
    assert Import.objects.get().state == "ready"


def test_bytes_that_changed_on_the_way_are_not_kept(people: People) -> None:
    address = begin(people.ben, 10)
    right = f"sha256 {b64encode(hashlib.sha256(b'01234').digest()).decode()}"
    assert send(people.ben, address, 0, b"0123x", Upload_Checksum=right).status_code == 460
    assert offset(people.ben, address) == 0
    assert send(people.ben, address, 0, b"01234", Upload_Checksum=right).status_code == 204
    assert offset(people.ben, address) == 5
    assert send(people.ben, address, 5, b"567890").status_code == 413
    assert offset(people.ben, address) == 5


def test_nobody_else_knows_of_an_upload(people: People) -> None:
    address = begin(people.ben, 3)
    for answer in (
        ask(people.eva, "HEAD", address),
        send(people.eva, address, 0, b"abc"),
        ask(people.eva, "DELETE", address),
        import_of(people.eva, people.space.pk, address),
    ):
        assert answer.status_code == 404
    assert offset(people.ben, address) == 0
    assert ask(people.ben, "DELETE", address).status_code == 204
    assert ask(people.ben, "HEAD", address).status_code == 404


def test_an_upload_that_nobody_goes_on_with_is_forgotten(people: People) -> None:
    address = begin(people.ben, 3)
    begin(people.eva, 3)
    folder = uploads._path(Upload.objects.get(person=people.ben.person)).parent
    assert folder.is_dir()
    Upload.objects.filter(person=people.ben.person).update(expires_at="2020-01-01T00:00:00Z")
    uploads.remove_expired()
    assert ask(people.ben, "HEAD", address).status_code == 404
    assert not folder.exists()
    assert Upload.objects.get().person_id == people.eva.id


def test_all_of_a_persons_uploads_have_one_limit(people: People, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 100
    begin(people.ben, 60)
    assert ask(people.ben, "POST", "/api/v1/uploads", Upload_Length="41").status_code == 413
    begin(people.ben, 40)
    begin(people.eva, 100)


@pytest.mark.parametrize("length", ["", "-1", "1.5", "many"])
def test_a_length_that_is_none_is_refused(people: People, length: str) -> None:
    assert ask(people.ben, "POST", "/api/v1/uploads", Upload_Length=length).status_code == 400


def test_what_belongs_together_is_imported_together(people: People, tmp_path: Path) -> None:
    data = full(tmp_path / "lab.sqlite3", "S2x").read_bytes()
    main = begin(people.ben, len(data), filename="lab.sqlite3", set="one")
    send(people.ben, main, 0, data)
    wal = begin(people.ben, 40, role="wal", set="one")
    send(people.ben, wal, 0, b"not a log".ljust(40))
    assert import_of(people.ben, people.space.pk, main).status_code == 201
    jobs.run(Import.objects.get().pk)
    problem: Any = Import.objects.get().problem
    assert problem["type"] == "foreign-journal"
