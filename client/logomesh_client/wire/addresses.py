"""The address of a server, as people write it and as programs need it."""

from __future__ import annotations

import ipaddress
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit


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
        except ValueError as error:
            raise BadAddress(f"{text[:200]} is no address: {error}.") from None
        if parts.scheme not in ("http", "https"):
            raise BadAddress(f"An address begins with https:// or http://, not {parts.scheme[:20]}://.")
        if not parts.hostname or any(c.isspace() for c in text):
            raise BadAddress("An address looks like https://logomesh.lab.example.")
        if parts.username or parts.password:
            raise BadAddress("Leave name and password out of the address; `logomesh login` asks for them.")
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
    parts = urlsplit(proxy)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


def address_of_proxy(proxy: str) -> Address:
    """Where a proxy listens."""
    parts = urlsplit(proxy)
    usual = {"http": 80, "https": 443}.get(parts.scheme, 1080)
    return Address(parts.scheme, parts.hostname or "", parts.port or usual, "")


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
