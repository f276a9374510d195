"""The pages of the documentation that come from the code say what the code says."""

from logomesh_server.reference import pages


def test_drawn_pages_are_up_to_date() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run `make reference`: {path.name} is out of date"
