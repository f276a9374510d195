"""Reads the environment: the only place where the server's configuration comes from.

Every secret can also be given as a file (`SECRET_KEY_FILE=/run/secrets/key`), as Docker and systemd hand
them over. What is wrong in the environment is said in one sentence that names the variable.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs
from django.core.exceptions import ImproperlyConfigured

KNOWN_OWN_NAMES = frozenset(
    {
        "LOGOMESH_DATA_DIR",
        "LOGOMESH_DB_IDLE_SECONDS",
        "LOGOMESH_DB_LOCK_SECONDS",
        "LOGOMESH_DB_POOL",
        "LOGOMESH_DB_POOLER",
        "LOGOMESH_DB_PREPARED",
        "LOGOMESH_DB_SCHEMA",
        "LOGOMESH_DB_STATEMENT_SECONDS",
        "LOGOMESH_HISTORY_DAYS",
        "LOGOMESH_HOST",
        "LOGOMESH_HTTPS",
        "LOGOMESH_METRICS_TOKEN",
        "LOGOMESH_METRICS_TOKEN_FILE",
        "LOGOMESH_TOMBSTONE_DAYS",
        "LOGOMESH_URL",
    }
)


def text(name: str, default: str = "") -> str:
    """The variable's value, or else the content of the file that NAME_FILE names, or else `default`."""
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {error}.") from error
    return default


def flag(name: str, default: bool = False) -> bool:
    value = text(name).strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if not value:
        return default
    raise ImproperlyConfigured(f"{name} is {value!r}; write 1 or 0.")


def number(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    value = text(name).strip()
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a whole number from {least} to {most}.")
    return int(value)


def choice(name: str, choices: tuple[str, ...]) -> str:
    """One of the choices; the first where nothing is given."""
    value = text(name, choices[0]).strip().lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; write {' or '.join(filter(None, choices))}.")
    return value


def listing(name: str) -> list[str]:
    """The parts of a comma-separated value."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def unknown_names() -> list[str]:
    """LOGOMESH_… variables that nothing reads: most likely a typing error."""
    return sorted(name for name in os.environ if name.startswith("LOGOMESH_") and name not in KNOWN_OWN_NAMES)


def data_dir() -> Path:
    """The folder that holds the databases, uploads and the secret key."""
    given = os.environ.get("LOGOMESH_DATA_DIR")
    return Path(given).expanduser().absolute() if given else platformdirs.user_data_path("logomesh")


def secret_key(folder: Path) -> str:
    """SECRET_KEY, or else the key kept in the data folder; the first start makes one there.

    Raises ImproperlyConfigured where the folder can neither be read nor written.
    """
    if given := text("SECRET_KEY"):
        return given
    path = folder / "secret-key"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key {path} cannot be read: {error.strerror}.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written aside and then linked: of two first starts at once, both end with the same whole key.
        draft = folder / f"secret-key.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {folder} cannot be written ({error.strerror}): choose another with"
            " LOGOMESH_DATA_DIR, or give SECRET_KEY."
        ) from error


def mail(url: str) -> dict[str, object]:
    """Django's mail settings for smtp://user:password@host:port, smtps:// (TLS) or smtp+tls:// (STARTTLS)."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme == "console":
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    if parts.scheme not in {"smtp", "smtps", "smtp+tls"}:
        raise ImproperlyConfigured("EMAIL_URL must begin with smtp://, smtp+tls:// or smtps://.")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname or "localhost",
        "EMAIL_PORT": parts.port or {"smtp": 25, "smtps": 465, "smtp+tls": 587}[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_TIMEOUT": 20,
        "DEFAULT_FROM_EMAIL": dict(parse_qsl(parts.query)).get("from", "logomesh@localhost"),
    }
