"""Make the captures of the benchmarks, byte for byte the same every time.

    python benchmarks/captures.py [--scale N] DIRECTORY [NAME...]

Every capture is classic pcap with microseconds, Ethernet and IPv4: a leader, server 1, and two followers, each pair
with one connection per direction from its SYN on. What each capture holds is printed as a line of JSON, so that a
benchmark can say how many of the messages were found. No capture is ever in memory as a whole.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hostile
from traffic import FOLLOWERS, LEADER, MSS, OFFLOAD, Cluster, small_messages, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from traffic import Packets

_BEGIN = 1_700_000_000
_STEP_MICROS = 50
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_RECORD = struct.Struct("<IIII")
_OPENING = 20
"""Packets at the begin of a capture that nothing happens to."""
_MEGABYTE = 1024 * 1024


class Made(NamedTuple):
    """What a capture holds."""

    packets: int
    messages: int
    """Messages that were sent."""
    captured: int
    """Messages of which every byte is in the capture."""


def appends(total: int, segment: int, acknowledged: int) -> Packets:
    """AppendEntries of 4 to 64 KiB, `total` bytes in all, cut into segments, and their results.

    Every so many segments, `acknowledged`, the receiver acknowledges them.
    """
    sizes = random.Random(7)
    content = sizes.randbytes(64 * 1024)
    cluster = Cluster()
    yield from cluster.opening()
    sent = segments = 0
    while sent < total:
        cluster.index += 1
        message = cluster.append(content[: sizes.randrange(4, 65) * 1024])
        for follower in FOLLOWERS:
            out, back = cluster.flows[LEADER, follower], cluster.flows[follower, LEADER]
            for start in range(0, len(message), segment):
                data = message[start : start + segment]
                yield out.packet(data), start + len(data) == len(message)
                segments += 1
                if segments % acknowledged == 0:
                    yield out.acknowledgement(), 0
            yield back.packet(cluster.result()), 1
            sent += len(message)


def snapshots(count: int, size: int) -> Packets:
    """Snapshots in segments of the usual size, each with its result."""
    block = random.Random(7).randbytes(_MEGABYTE)
    cluster = Cluster()
    yield from cluster.opening()
    out, back = cluster.flows[LEADER, 2], cluster.flows[2, LEADER]
    for _ in range(count):
        cluster.index += 1000
        for data in snapshot(cluster.index, block, size, MSS):
            yield out.packet(data), 0
        yield back.packet(cluster.result()), 2


def messy(packets: Packets) -> Packets:
    """One packet in ten comes up to five packets late, one in fifty twice."""
    chance = random.Random(11)
    late: list[tuple[int, bytes, int]] = []
    for number, (packet, messages) in enumerate(packets):
        if number > _OPENING and chance.random() < 0.1:
            late.append((number + chance.randrange(1, 6), packet, messages))
        else:
            yield packet, messages
            if chance.random() < 0.02:
                yield packet, 0
        for due in [item for item in late if item[0] <= number]:
            late.remove(due)
            yield due[1], due[2]
    for _, packet, messages in late:
        yield packet, messages


def _write(path: Path, packets: Packets) -> Made:
    count = messages = 0
    with path.open("wb", buffering=1 << 20) as file:
        file.write(_FILE_HEADER)
        for packet, completed in packets:
            seconds, micros = divmod(count * _STEP_MICROS, 1_000_000)
            file.write(_RECORD.pack(_BEGIN + seconds, micros, len(packet), len(packet)))
            file.write(packet)
            count += 1
            messages += completed
    return Made(count, messages, messages)


def _write_gappy(path: Path, packets: Packets) -> Made:
    """One packet in a thousand was not captured."""
    chance = random.Random(13)
    sent = captured = 0

    def kept() -> Packets:
        nonlocal sent, captured
        whole: dict[bytes, bool] = {}
        for number, (packet, completes) in enumerate(packets):
            direction = packet[26:38]
            lost = number > _OPENING and chance.random() < 0.001
            whole[direction] = whole.get(direction, True) and not lost
            if not lost:
                yield packet, 0
            if completes:
                sent += 1
                captured += whole[direction]
                whole[direction] = True

    made = _write(path, kept())
    return Made(made.packets, sent, captured)


CAPTURES: dict[str, Callable[[Path, float], Made]] = {
    "few": lambda path, _: _write(path, small_messages(10_000)),
    "small": lambda path, scale: _write(path, small_messages(int(50_000 * scale))),
    "appends": lambda path, scale: _write(path, appends(int(100 * _MEGABYTE * scale), MSS, 3)),
    "offload": lambda path, scale: _write(path, appends(int(100 * _MEGABYTE * scale), OFFLOAD, 1)),
    "messy": lambda path, scale: _write(path, messy(small_messages(int(10_000 * scale)))),
    "messy-appends": lambda path, scale: _write(path, messy(appends(int(10 * _MEGABYTE * scale), MSS, 3))),
    "gappy": lambda path, scale: _write_gappy(path, appends(int(10 * _MEGABYTE * scale), MSS, 3)),
    "snapshots": lambda path, scale: _write(
        path, snapshots(max(1, int(scale)), int(100 * _MEGABYTE * min(scale, 1)) // MSS * MSS)
    ),
    "cluster": lambda path, scale: _write(path, hostile.working_cluster(scale)),
    **{
        name: lambda path, scale, kind=kind: _write(path, hostile.beside(kind, scale))  # type: ignore[misc]
        for name, kind in hostile.KINDS.items()
    },
}
"""Each capture by name; at scale 10 `small` and `appends` have a million packets, and `appends` a gigabyte.

`few` is the same at every scale: what is slow can be measured there. `cluster` is what the hostile ones hold beside
what is hostile.
"""


def main() -> None:
    """Write the captures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("captures", nargs="*", metavar="NAME", choices=[*CAPTURES, []], help=", ".join(CAPTURES))
    parser.add_argument("--scale", type=float, default=10)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in options.captures or CAPTURES:
        path = options.directory / f"{name}.pcap"
        made = CAPTURES[name](path, options.scale)
        print(json.dumps({"name": name, "path": str(path), "size": path.stat().st_size, **made._asdict()}), flush=True)


if __name__ == "__main__":
    main()
