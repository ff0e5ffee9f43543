"""Where metrics are served: what `[ADDR]:PORT` means."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
_FORM = re.compile(r"(?:(?P<plain>[^:\[\]]*)|\[(?P<bracketed>[^\[\]]*)\]):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    """An IPv4 or IPv6 address, or the name of a host."""
    port: int
    """0 lets the system choose one that is free."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect to it, as far as it can be told without asking DNS."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"


def parse_address(text: str) -> Address:
    """The address that `[ADDR]:PORT` means; without ADDR it is 127.0.0.1, an IPv6 address stands in brackets.

    Raises ValueError, with a line for the user, for what is no address.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"no address to serve metrics at: {text!r}; write :9290, 192.0.2.1:9290 or [::1]:9290")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"no TCP port: {port}")
    if match["bracketed"] is not None:
        if not _is_ip(match["bracketed"], 6):
            raise ValueError(f"no IPv6 address: {match['bracketed']!r}")
        return Address(match["bracketed"], port)
    host = match["plain"] or LOOPBACK
    if not _is_ip(host, 4) and (not _NAME.fullmatch(host) or host.replace(".", "").isdigit()):
        raise ValueError(f"neither an IPv4 address nor the name of a host: {host!r}")
    return Address(host, port)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
