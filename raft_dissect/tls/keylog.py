"""The secrets of TLS connections: lines of a key log in the format that NSS, OpenSSL, GnuTLS and Go write.

Source: draft-ietf-tls-keylogfile.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from raft_dissect.capture.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection

_LINE = re.compile(rb"([A-Z][A-Z0-9_]*) ([0-9A-Fa-f]{64}) ((?:[0-9A-Fa-f]{32}){2,4})")
_BEFORE_1_3 = b"CLIENT_RANDOM"
_OF_1_3 = frozenset(
    f"{side}_{what}".encode()
    for side in ("CLIENT", "SERVER")
    for what in ("HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0")
)
_LONGEST_LINE = 1024
_READ = 1024 * 1024
_ADVICE = ("a key log has lines such as CLIENT_RANDOM <hex> <hex>; docs/tls.md says which settings write one",)


class Secrets:
    """The secrets that are known, by the random of the client that each of them belongs to."""

    def __init__(self) -> None:
        self._lines: dict[bytes, dict[bytes, bytes]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, content: bytes) -> None:
        """Take whole lines of a key log."""
        for line in content.splitlines():
            found = _LINE.fullmatch(line.strip())
            if found is not None:
                random = bytes.fromhex(found[2].decode())
                self._lines.setdefault(random, {})[found[1]] = found[0]

    def add_last(self, line: bytes) -> None:
        """Take what may be a whole line."""
        if _LINE.fullmatch(line.strip()):
            self.add(line)

    def of(self, random: bytes) -> Collection[bytes]:
        """The lines for the connection with this random."""
        return self._lines.get(random, {}).values()

    def is_complete(self, random: bytes) -> bool:
        """Whether there is all that is needed to decrypt the connection with this random."""
        labels = self._lines.get(random, {}).keys()
        return _BEFORE_1_3 in labels or labels >= _OF_1_3


class KeyLog:
    """A key log file, which may still be written to.

    It stays open, so that it can be read on by a process that has given its privileges away.
    """

    def __init__(self, path: str, *, grows: bool = False) -> None:
        """Read it; raises UnavailableError when it cannot be read or, unless it `grows`, when it has no secret."""
        self.path = path
        self.grows = grows
        self.secrets = Secrets()
        self._rest = b""
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - until `close`
        except OSError as error:
            raise self._unreadable(error) from error
        except ValueError as error:
            raise UnavailableError(path, "no file can have this name") from error
        try:
            self.refresh()
            if not len(self.secrets) and not grows:
                raise UnavailableError(path, self._without_secrets(), _ADVICE)
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """Take what was written to it since it was read last."""
        try:
            position = self._file.tell()
            if self._file.seek(0, os.SEEK_END) < position:  # it was begun anew
                position, self._rest = 0, b""
            self._file.seek(position)
            while data := self._file.read(_READ):
                self._take(data)
        except OSError as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Read no more of it."""
        self._file.close()

    def _unreadable(self, error: OSError) -> UnavailableError:
        return UnavailableError(self.path, f"the key log cannot be read: {error.strerror or error}")

    def _without_secrets(self) -> str:
        if not self._file.tell():
            return "this key log is empty; was it set before the servers were started?"
        return "this is no key log: it has no line with a secret of TLS"

    def _take(self, data: bytes) -> None:
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        # The last line may have no end, and may be there in part: it is taken as it is, and again once it is whole.
        self.secrets.add(whole + newline)
        self._rest = rest[:_LONGEST_LINE]
        self.secrets.add_last(self._rest)
