"""The address of a server, as people write it and as programs need it."""

from __future__ import annotations

import ipaddress
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import httpx


class BadAddress(ValueError):
    """A text that cannot be the address of a server. Its words say why."""


@dataclass(frozen=True)
class Address:
    """Where a server is: scheme, host, port, and a path where it lives below one."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """What was meant by `lab.example`, `localhost:8000` or a whole URL. Raises `BadAddress`."""
        text = text.strip()
        if "://" not in text:
            host = urlsplit(f"//{text}").hostname or ""
            text = f"{'http' if _is_this_machine(host) else 'https'}://{text}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise BadAddress(f"{_after_name(text)[:200]} is no address.") from None
        if parts.scheme not in ("http", "https"):
            raise BadAddress(f"An address begins with https:// or http://, not {parts.scheme[:20]}://.")
        if not parts.hostname or any(c.isspace() for c in text):
            raise BadAddress("An address looks like https://logomesh.lab.example.")
        if parts.username or parts.password:
            raise BadAddress("Leave name and password out of the address; `logomesh login` asks for them.")
        if not _can_be_asked(text, parts.hostname):
            raise BadAddress(f"{parts.hostname[:100]!a} cannot be the name of a machine.")
        path = parts.path.rstrip("/").removesuffix("/api/v1")
        return cls(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return urlunsplit((self.scheme, host if usual else f"{host}:{self.port}", self.path, "", ""))

    @property
    def is_secure(self) -> bool:
        """Whether nobody on the way can read the token."""
        return self.scheme == "https" or _is_this_machine(self.host)

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment, or the system, names for it."""
        if _is_this_machine(self.host) or urllib.request.proxy_bypass(f"{self.host}:{self.port}"):
            return None
        proxies = urllib.request.getproxies()
        found = proxies.get(self.scheme) or proxies.get("all")
        return f"http://{found}" if found and "://" not in found else found


def without_secret(proxy: str | None) -> str | None:
    """A proxy's address as it may be shown."""
    if proxy is None:
        return None
    scheme, sign, rest = proxy.rpartition("://")
    return f"{scheme}{sign}{_after_name(rest).partition('/')[0]}"


def address_of_proxy(proxy: str) -> Address:
    """Where a proxy listens. Raises `BadAddress`."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    usual = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}.get(proxy.partition("://")[0])
    if not host or usual is None or not _can_be_asked(f"http://{host}", host):
        raise BadAddress(f"{without_secret(proxy)} cannot be the address of a proxy.")
    return Address(parts.scheme, host, port or usual, "")


def _after_name(text: str) -> str:
    """An address without the name, and the password, that may stand before an @."""
    return text.rpartition("@")[2]


def _can_be_asked(url: str, host: str) -> bool:
    """Whether the HTTP library and the system's resolver take it; they have their own ways to fail."""
    try:
        httpx.URL(url)
        host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        return False
    return True


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
