"""Where the server listens, who may ask, and how much."""

import ipaddress
import socket
from dataclasses import dataclass

from ner_edge.errors import UsageError

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServeSettings:
    """Raises `UsageError` for an address that others can reach without a key."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    api_key: str | None = None
    authenticate: bool = True
    """False allows a `host` that others can reach without a key."""
    max_body: int = 2_000_000
    """Bytes of a request."""
    max_texts: int = 1000
    """Texts of a request."""
    max_requests: int = 128
    """Requests at a time."""
    timeout: float = 600
    """Seconds for a request, from its last byte to that of the answer."""
    body_timeout: float = 10
    """Seconds within which a request must arrive."""

    def __post_init__(self) -> None:
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise UsageError("--api-key: only printable ASCII characters can be sent in a header")
        if self.api_key == "":
            raise UsageError("--api-key: is empty")
        if self.api_key and not self.authenticate:
            raise UsageError("--api-key and --no-auth exclude each other")
        if not self.is_local and not self.api_key and self.authenticate:
            raise UsageError(
                f"--host {self.host}: others can reach this address, so it needs --api-key KEY "
                "(or NER_EDGE_API_KEY), or --no-auth to let everyone ask"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach `host`."""
        return self.host == "localhost" or _is_loopback(self.host)

    def serves(self, host_header: str) -> bool:
        """Whether the `Host` of a request names this server.

        A page from elsewhere whose name was rebound to this machine's address sends its own name
        (DNS rebinding). A server on all addresses cannot know its names, but no address can be
        rebound, and a page from elsewhere does not know the key.
        """
        name, port = _split(host_header)
        if self.host in ("0.0.0.0", "::"):
            known = name in ("localhost", socket.gethostname().lower()) or _is_address(name)
            return known or self.api_key is not None
        return name in (*_LOCAL_NAMES, self.host.lower()) and (port or "80") == str(self.port)


def _split(host_header: str) -> tuple[str, str]:
    """`[::1]:8000` → `::1`, `8000`."""
    name, _, port = host_header.lower().rpartition(":")
    if not port.isdecimal():
        name, port = host_header.lower(), ""
    return name.removeprefix("[").removesuffix("]"), port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
