"""The secrets of TLS connections: lines of a key log in the format that NSS, OpenSSL, GnuTLS and Go write.

Source: draft-ietf-tls-keylogfile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from raft_dissect.capture.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection

_LINE = re.compile(rb"([A-Z][A-Z0-9_]*) ([0-9A-Fa-f]{64}) ((?:[0-9A-Fa-f]{32}){2,4})")
_BEFORE_1_3 = b"CLIENT_RANDOM"
_OF_1_3 = frozenset(
    f"{side}_{what}".encode() for side in ("CLIENT", "SERVER") for what in ("HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0")
)
_LONGEST_LINE = 1024
_READ = 1024 * 1024
_ADVICE = (
    "a key log has lines such as CLIENT_RANDOM <hex> <hex>; docs/tls.md says which settings write one",
)


class Secrets:
    """The secrets that are known, by the random of the client that each of them belongs to."""

    def __init__(self) -> None:
        self._lines: dict[bytes, dict[bytes, bytes]] = {}
        self.ignored = 0
        """Lines that are neither secrets nor comments."""

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, content: bytes) -> None:
        """Take whole lines of a key log."""
        for line in content.splitlines():
            found = _LINE.fullmatch(line.strip())
            if found is not None:
                random = bytes.fromhex(found[2].decode())
                self._lines.setdefault(random, {})[found[1]] = found[0]
            elif line.strip() and not line.lstrip().startswith(b"#"):
                self.ignored += 1

    def of(self, random: bytes) -> Collection[bytes]:
        """The lines for the connection with this random."""
        return self._lines.get(random, {}).values()

    def is_complete(self, random: bytes) -> bool:
        """Whether there is all that is needed to decrypt the connection with this random."""
        labels = self._lines.get(random, {}).keys()
        return _BEFORE_1_3 in labels or labels >= _OF_1_3


class KeyLog:
    """A key log file, which may still be written to."""

    def __init__(self, path: str, secrets: Secrets, *, grows: bool = False) -> None:
        """Read it; raises UnavailableError when it cannot be read or, unless it `grows`, when it has no secret."""
        self.path = path
        self._secrets = secrets
        self._offset = 0
        self._rest = b""
        self._read()
        if not len(secrets) and not grows:
            raise UnavailableError(path, self._without_secrets(), _ADVICE)

    def refresh(self) -> None:
        """Take what was written to it since it was read last."""
        self._read()

    def _without_secrets(self) -> str:
        if not self._offset and not self._rest:
            return "this key log is empty; was it set before the servers were started?"
        return "this is no key log: it has no line with a secret of TLS"

    def _read(self) -> None:
        try:
            with open(self.path, "rb", buffering=0) as file:
                if file.seek(0, 2) < self._offset:  # it was begun anew
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                while data := file.read(_READ):
                    self._offset += len(data)
                    self._take(data)
        except OSError as error:
            problem = f"the key log cannot be read: {error.strerror or error}"
            raise UnavailableError(self.path, problem) from error
        except ValueError as error:
            raise UnavailableError(self.path, "no file can have this name") from error

    def _take(self, data: bytes) -> None:
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        # The last line may have no end, and may be read in part: it is taken as it is now, and again once it is whole.
        self._secrets.add(whole + newline)
        self._rest = rest[:_LONGEST_LINE]
        if _LINE.fullmatch(self._rest):
            self._secrets.add(self._rest)


