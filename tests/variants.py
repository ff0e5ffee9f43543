"""Real captures made worse in the ways in which captures are bad: an audit must accuse nobody because of them.

    @pytest.mark.parametrize("file", variants.FILES)
    def test_nobody_is_accused(file: str) -> None:
        for name, packets in variants.variants(file):
            assert not violations(packets), name

That gives a part of them, the same in every run: of each family some for every file, others for other files, and fewer
the larger the file is. With the environment variable RAFT_DISSECT_EVERY_VARIANT all are given.
"""

from __future__ import annotations

import os
import socket
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests import captures, transformations
from tests.captures import CLEAR, PCAPS
from tests.packets import MILLISECOND
from tests.transformations import numbered, tcp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.values import Packet

FILES = CLEAR
EVERY = bool(os.environ.get("RAFT_DISSECT_EVERY_VARIANT"))

PLACES = 50
"""At which captures are cut."""
SNAPLENS = (60, 80, 96, 128, 200, 500)
"""Bytes: of Ethernet, IPv4 and TCP with timestamps there are 66, so the first leaves no payload at all."""
CLOCKS_MS = (1, 30, 400)
"""How far the clocks of neighbouring capture points differ."""


class Variant(NamedTuple):
    """A capture made worse, which costs nothing until it is asked for."""

    name: str
    make: Callable[[], list[Packet]]


def variants(file: str, *, every: bool = EVERY) -> Iterator[tuple[str, list[Packet]]]:
    """The variants of a capture of `pcaps/`, each with a name that says how it was made."""
    for variant in all_variants(file) if every else chosen(file):
        yield variant.name, variant.make()


def all_variants(file: str) -> list[Variant]:
    return [variant for of_family in FAMILIES.values() for variant in of_family(file)]


def chosen(file: str) -> list[Variant]:
    """Every so-manieth variant of each family, beginning with another one for each file."""
    begin = FILES.index(file)
    found = []
    for family, of_family in FAMILIES.items():
        step = STEPS[family] * (1 + (PCAPS / file).stat().st_size // LARGE)
        variants = of_family(file)
        if variants:
            found += variants[begin % min(step, len(variants)) :: step]
    return found


def called(file: str, name: str) -> list[Packet]:
    """The packets of one variant."""
    return next(one.make() for one in all_variants(file) if one.name == name)


LARGE = 250_000
"""Bytes; of files that are so many times as large there are so many times fewer variants."""


def cuts(file: str) -> list[Variant]:
    """The capture up to each of the places, and from there on."""

    def part(place: int, *, until: bool) -> list[Packet]:
        packets = captures.packets(file)
        middle = len(packets) * place // (PLACES + 1)
        return packets[:middle] if until else packets[middle:]

    places = range(1, PLACES + 1)
    return [
        Variant(f"{word} {place}/{PLACES + 1}", partial(part, place, until=until))
        for place in places
        for word, until in (("up to", True), ("from", False))
    ]


def thinned(file: str) -> list[Variant]:
    """Without one packet in a hundred, or in twenty."""

    def without(loss: float, seed: int) -> list[Packet]:
        chance = Random(f"{file} {loss} {seed}")
        return [packet for packet in captures.packets(file) if chance.random() >= loss]

    return [
        Variant(f"without {loss:.0%}, {seed}", partial(without, loss, seed))
        for seed in range(5)
        for loss in (0.01, 0.05)
    ]


def repeated(file: str) -> list[Variant]:
    """Every packet twice, at the same point or at another one."""
    found = [Variant("every packet twice", lambda: transformations.twice(captures.packets(file)))]
    if not _cut(file):
        found.append(Variant("behind a router too", lambda: transformations.seen_at_two_points(captures.packets(file))))
    return found


@cache
def _cut(file: str) -> bool:
    """Whether the capture has packets that are not whole, of which no others can be made."""
    return any(len(packet.data) < packet.original_length for packet in captures.packets(file))


def reordered(file: str) -> list[Variant]:
    """Packets that are captured late."""

    def late(most_ms: int) -> list[Packet]:
        return transformations.late(captures.packets(file), most_ms)

    found = [Variant(f"late by up to {most_ms} ms", partial(late, most_ms)) for most_ms in (2, 20, 400)]
    found.append(Variant("late with their times", lambda: transformations.late_with_its_time(captures.packets(file))))
    return found


def truncated(file: str) -> list[Variant]:
    """With several snaplens."""

    def short(snaplen: int) -> list[Packet]:
        return [packet._replace(data=packet.data[:snaplen]) for packet in captures.packets(file)]

    return [Variant(f"snaplen {snaplen}", partial(short, snaplen)) for snaplen in SNAPLENS]


def merged(file: str) -> list[Variant]:
    """Captured at each server, and merged; their clocks differ."""
    parts = [[packet for packet in captures.packets(file) if _hosts(packet) & {host}] for host in hosts(file)]
    if len(parts) < 2:
        return []
    return _merged("by server", parts) + _merged_files(file)


def _merged_files(file: str) -> list[Variant]:
    """Where a run was captured at each server: those captures."""
    if file != f"{captures.run_of(file)}.pcap":
        return []
    nodes = sorted(path.name for path in PCAPS.glob(f"{captures.run_of(file)}.node*.pcap"))
    return _merged("from the servers", [captures.packets(node) for node in nodes]) if len(nodes) > 1 else []


def _merged(word: str, parts: Sequence[Sequence[Packet]]) -> list[Variant]:
    return [Variant(f"{word}, {ms} ms apart", partial(points, parts, ms * MILLISECOND)) for ms in (0, *CLOCKS_MS)]


def points(parts: Sequence[Sequence[Packet]], apart_ns: int) -> list[Packet]:
    """Captures as one, in the order of their own times, of which each is so much later than the one before."""
    all_of_them = [
        packet._replace(file=number, time_ns=packet.time_ns + number * apart_ns)
        for number, part in enumerate(parts)
        for packet in numbered(part)
    ]
    return sorted(all_of_them, key=lambda packet: packet.time_ns)


def _hosts(packet: Packet) -> set[bytes]:
    segment = tcp_of(packet)
    return set() if segment is None else set(segment.hosts)


@cache
def hosts(file: str) -> list[bytes]:
    """The hosts that TCP packets come from and go to."""
    return sorted({host for packet in captures.packets(file) for host in _hosts(packet)})


def one_sided(file: str) -> list[Variant]:
    """What one host sends, all but that, and what it sends and receives."""

    def of(host: bytes, what: str) -> list[Packet]:
        found = []
        for packet in captures.packets(file):
            segment = tcp_of(packet)
            sends = segment is not None and segment.hosts[0] == host
            receives = segment is not None and segment.hosts[1] == host
            if {"sent by": sends, "not sent by": not sends, "at": sends or receives}[what]:
                found.append(packet)
        return found

    def clients() -> list[Packet]:
        """Clients have the higher ports."""
        segments = transformations.segments(captures.packets(file))
        return [segment.packet for segment in segments if segment.header[:2] > segment.header[2:4]]

    found = [Variant("sent by clients", clients)]
    if len(hosts(file)) > 1:
        for what in ("sent by", "not sent by", "at"):
            found += [Variant(f"{what} {_text(host)}", partial(of, host, what)) for host in hosts(file)]
    return found


def _text(host: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(host) == 4 else socket.AF_INET6, host)


FAMILIES: dict[str, Callable[[str], list[Variant]]] = {
    "cuts": cuts,
    "thinned": thinned,
    "repeated": repeated,
    "reordered": reordered,
    "truncated": truncated,
    "merged": merged,
    "one-sided": one_sided,
}
STEPS = {
    "cuts": 12,
    "thinned": 4,
    "repeated": 2,
    "reordered": 2,
    "truncated": 3,
    "merged": 3,
    "one-sided": 4,
}
"""One in so many is chosen, of files below LARGE."""
