"""What people type: names, e-mail addresses, passwords. Checked once, for pages, API and commands."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from workspaces.models import Person
from workspaces.problems import InvalidValue


def is_sound(text: str) -> bool:
    """Whether PostgreSQL can store it: no NUL, no half of a surrogate pair."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)


def plain_text(value: object, name: str, *, most: int = 200) -> str:
    """A line of text, trimmed: 1 to `most` characters, none of them a control or half a surrogate pair.

    Raises `InvalidValue`, which points at the member `name` of the request.
    """
    if not isinstance(value, str):
        raise InvalidValue(f"{name} must be a text.", pointer=f"/{name}")
    value = value.strip()
    if not value or len(value) > most:
        raise InvalidValue(f"{name} must have 1 to {most} characters.", pointer=f"/{name}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise InvalidValue(f"{name} must not hold control characters.", pointer=f"/{name}")
    return value


def one_of(value: object, name: str, choices: Iterable[str]) -> str:
    """One of the texts that are allowed. Raises `InvalidValue`."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise InvalidValue(f"{name} must be one of: {', '.join(choices)}.", pointer=f"/{name}")
    return value


def email_address(value: object, name: str = "email") -> str:
    """An e-mail address in lower case. Raises `InvalidValue`."""
    email = plain_text(value, name, most=254).lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidValue(f"{email} is not an e-mail address.", pointer=f"/{name}") from None
    return email


def good_password(value: object, person: Person) -> str:
    """A password that is long enough, not common and not the person's own name. Raises `InvalidValue`."""
    if not isinstance(value, str) or len(value) > 1000 or not is_sound(value):
        raise InvalidValue("The password must be a text of at most 1,000 characters.", pointer="/password")
    try:
        validate_password(value, person)
    except ValidationError as error:
        raise InvalidValue(" ".join(error.messages), pointer="/password") from None
    return value
