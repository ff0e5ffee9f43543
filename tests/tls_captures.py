"""Captures in clear made into captures of TLS: OpenSSL encrypts each connection, and logs its secrets."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.streams.segments import Segment, decode_segment, endpoints_of, reverse_key
from raft_dissect.values import Packet
from tests.packets import ACK, ETHERNET, FIN, RST, SYN, Address, ethernet, ipv4, pieces, tcp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CERTIFICATE = Path(__file__).with_name("tls_certificate.pem")
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
UPGRADE = (
    b"GET /internal/database HTTP/1.1\r\nHost: 10.0.0.2:8443\r\nUpgrade: dqlite\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: dqlite\r\nConnection: Upgrade\r\n\r\n",
)
"""What go-dqlite's client asks before its handshake, and what the server answers."""


class Exchange:
    """One TLS connection without a network: what each side writes is bytes for the other."""

    def __init__(self, version: ssl.TLSVersion, key_log: Path | None, protocols: Sequence[str] = ()) -> None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(CERTIFICATE)
        for context in (client, server):
            context.minimum_version = context.maximum_version = version
            if protocols:
                context.set_alpn_protocols(list(protocols))
        if key_log is not None:
            client.keylog_filename = str(key_log)
        self._bios = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
        contexts = (client, server)
        self.sides = [
            context.wrap_bio(*bios, server_side=context is server)
            for context, bios in zip(contexts, self._bios, strict=True)
        ]

    def handshake(self) -> Iterator[tuple[int, bytes]]:
        """The flights of the handshake: which side (0 is the client), and its bytes."""
        open_sides = [True, True]
        while any(open_sides):
            for side in (0, 1):
                try:
                    self.sides[side].do_handshake()
                    open_sides[side] = False
                except ssl.SSLWantReadError:
                    pass
                if data := self._take(side):
                    yield side, data

    def write(self, side: int, data: bytes) -> bytes:
        """What a side sends for these bytes."""
        self.sides[side].write(data)
        sealed = self._take(side)
        self.sides[1 - side].read(len(data))
        return sealed

    def _take(self, side: int) -> bytes:
        data = self._bios[side][1].read()
        self._bios[1 - side][0].write(data)
        return data


class Sealing(NamedTuple):
    """How a capture is encrypted."""

    version: ssl.TLSVersion = TLS_1_3
    upgrade: bool = False
    """Whether HTTP asks for the protocol first, as go-dqlite's client does."""
    most: int = 60_000
    """Bytes of payload in a segment, at most."""


AS_USUAL = Sealing()


class _Sealed:
    """A connection of the clear capture, and how far its streams are."""

    def __init__(self, first: Segment, exchange: Exchange) -> None:
        self.keys = first.key, reverse_key(first.key)
        self.exchange = exchange
        self.next = [first.sequence, 7_000_000]
        self.is_begun = False


def sealed(packets: Iterable[Packet], key_log: Path | None, sealing: Sealing = AS_USUAL) -> list[Packet]:
    """The packets of a capture in which nothing is lost or out of order, each connection inside TLS.

    The packets of the handshake come just before the first data of a connection.
    """
    return list(_Sealer(key_log, sealing).seal(packets))


class _Sealer:
    def __init__(self, key_log: Path | None, sealing: Sealing) -> None:
        self._key_log = key_log
        self._sealing = sealing
        self._found: dict[bytes, _Sealed] = {}
        self._frame = 0

    def seal(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        for packet in packets:
            segment = decode_segment(packet)
            if isinstance(segment, Segment):
                yield from self._sealed(segment, packet.time_ns)
            else:
                self._frame += 1
                yield packet._replace(frame=self._frame)

    def _sealed(self, segment: Segment, time_ns: int) -> Iterator[Packet]:
        if segment.flags & SYN and not segment.flags & ACK:
            exchange = Exchange(self._sealing.version, self._key_log)
            self._found[segment.key] = self._found[reverse_key(segment.key)] = _Sealed(segment, exchange)
        connection = self._found[segment.key]
        side = connection.keys.index(segment.key)
        data = b""
        if segment.data:
            if not connection.is_begun:
                yield from self._begin(connection, time_ns)
            data = connection.exchange.write(side, segment.data)
        yield from self._sent(connection, side, data, segment.flags & (SYN | ACK | FIN | RST), time_ns)

    def _begin(self, connection: _Sealed, time_ns: int) -> Iterator[Packet]:
        connection.is_begun = True
        for side, flight in connection.exchange.handshake():
            yield from self._sent(connection, side, flight, ACK, time_ns)
        for side, text in enumerate(UPGRADE if self._sealing.upgrade else ()):
            yield from self._sent(connection, side, connection.exchange.write(side, text), ACK, time_ns)

    def _sent(self, connection: _Sealed, side: int, data: bytes, flags: int, time_ns: int) -> Iterator[Packet]:
        """The segments of what a side sends; the last one has the flags."""
        source, destination = endpoints_of(connection.keys[side])
        ends = Address(*source), Address(*destination)
        for _, piece in pieces(data, [self._sealing.most]) if data else [(0, b"")]:
            data = data[len(piece) :]
            last = flags & ~FIN if data else flags
            segment = tcp(*ends, connection.next[side], connection.next[1 - side], last, piece)
            frame = ethernet(ipv4(source.host, destination.host, segment))
            connection.next[side] += len(piece) + bool(last & (SYN | FIN))
            self._frame += 1
            yield Packet(frame, time_ns, ETHERNET, len(frame), self._frame)
