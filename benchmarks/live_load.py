"""Let `raft-dissect live` capture what is sent on the loopback device of a namespace, and say what it took."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from readers import HERE, environment

sys.path.insert(0, str(HERE.parent))

from raft_dissect import wire  # the checkout must be found first
from raft_dissect.wire import table
from tests.cluster import Cluster
from tests.cluster.network import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from readers import Ours

PORT = 9001
HOSTS = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
"""Of the servers, the leader first; not of the loopback network, on which servers are not known by their hosts."""
PROBE_SECONDS = 5
"""Between two connections that are opened anew: when the line about one comes says how late the analysis is."""
_LAYOUT = "c-0.18.0"
_SAMPLE_SECONDS = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = 0.1
"""Share of a core below which the analysis has nothing left to do."""
_PATIENCE = 60
_ONE, _OTHER = 0x1122334455667788, 0x2122334455667788


class Kind(NamedTuple):
    """What is sent."""

    name: str
    data: int
    """Bytes of the entry in each AppendEntries."""
    batch: int
    """Messages in a row that go into one write, as leaders send them that do not wait for answers."""


KINDS = {kind.name: kind for kind in (Kind("small", 8, 1), Kind("mtu", 1368, 1), Kind("batched", 8, 16))}


class Sample(NamedTuple):
    """The process at a time."""

    seconds: float
    """Since the load began."""
    cpu: float
    """Seconds of user and system time since then."""
    resident: int
    """Bytes, with the ring that belongs to the kernel."""
    own: int
    """Bytes of memory that is not the ring, nor the program."""


class Run(NamedTuple):
    """What came of one load."""

    rate: float
    """Messages a second that were asked for; 0 for as many as the sender can."""
    sent: int
    """Messages."""
    bytes: int
    """Of messages; of a real cluster, of packets."""
    seconds: float
    reported: int
    """Messages in the summary."""
    packets: int
    """In the summary."""
    received: int
    """Packets that the kernel put into the ring."""
    dropped: int
    told: tuple[float, ...]
    """Seconds from the packets of each opened connection to the line about it."""
    late: int
    """Lines that say that the analysis is behind."""
    drained: float
    """Seconds from the end of the load until the analysis had nothing left to do."""
    gaps: int
    samples: tuple[Sample, ...]
    load: float
    """The load average of the machine before."""

    @property
    def share(self) -> float:
        """Of one core, while the load lasted."""
        return self.samples[-1].cpu / self.samples[-1].seconds

    def own(self, quarter: int) -> int:
        """The mean of the own memory in a quarter of the time, 0 to 3."""
        end = self.samples[-1].seconds
        found = [one.own for one in self.samples if quarter <= 4 * one.seconds / end <= quarter + 1]
        return sum(found) // len(found)

    @property
    def peak(self) -> int:
        """The most memory, with the ring."""
        return max(one.resident for one in self.samples)


class Live:
    """A `raft-dissect live --json` that runs in a namespace: its lines, and what it takes."""

    def __init__(self, form: Ours, command: Sequence[str], *options: str) -> None:
        """`command` goes before it so that it runs in the namespace."""
        self.records: list[tuple[float, dict[str, Any]]] = []
        """The lines with the times at which they came, in seconds since the epoch."""
        self._process = subprocess.Popen(
            [*command, form.python, "-m", "raft_dissect", "live", "--json", "--user", "root", *options],
            stdout=subprocess.PIPE,
            cwd=os.sep,
            env=environment(form),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._wait_for_ring()
        self._wait_until_idle()  # it has begun
        self._begun = time.monotonic()
        self._cpu = 0.0
        self._samples: list[Sample] = []
        self._stopped = threading.Event()
        self._sampler = threading.Thread(target=self._sample)

    def begin(self) -> None:
        """The load begins."""
        self._begun = time.monotonic()
        self._cpu = self.cpu()
        self._sampler.start()

    def end(self) -> tuple[tuple[Sample, ...], float]:
        """The load is over: give the samples, and seconds until all of it was analyzed."""
        self._stopped.set()
        self._sampler.join()
        if self._process.poll() is not None:
            raise SystemExit("raft-dissect live has ended before its time")
        samples = (*self._samples, self._now())
        return samples, self._wait_until_idle()

    def finish(self) -> dict[str, Any]:
        """End it, and give its summary."""
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise SystemExit("raft-dissect live does not end") from None
        self._reader.join()
        if code or not self.records or self.records[-1][1]["event"] != "summary":
            raise SystemExit(f"raft-dissect live failed with code {code}")
        return self.records[-1][1]

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._stopped.set()

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _wait_until_idle(self) -> float:
        """Give the seconds until it had nothing left to do."""
        begun = time.monotonic()
        before = self.cpu()
        while time.monotonic() - begun < _PATIENCE:
            time.sleep(_SAMPLE_SECONDS)
            now = self.cpu()
            if (now - before) / _SAMPLE_SECONDS < _IDLE:
                break
            before = now
        return time.monotonic() - begun - _SAMPLE_SECONDS

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS) and self._process.poll() is None:
            self._samples.append(self._now())

    def _now(self) -> Sample:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        sizes = {name: int(value.split()[0]) << 10 for name, value in _fields(status) if name in ("VmRSS", "RssAnon")}
        return Sample(time.monotonic() - self._begun, self.cpu() - self._cpu, sizes["VmRSS"], sizes["RssAnon"])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.records.append((time.time(), json.loads(line)))

    def _wait_for_ring(self) -> None:
        """Wait until the kernel captures for it."""
        table_of_sockets = Path(f"/proc/{self._process.pid}/net/packet")
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            # What is bound to a device has its number there. Before it is in its namespace, it sees other sockets.
            rows = [row.split() for row in table_of_sockets.read_text().splitlines()[1:]]
            if any(int(row[4]) for row in rows) and b"raft_dissect" in self._command_line():
                return
            time.sleep(0.01)
        self.kill()
        raise SystemExit("raft-dissect live does not begin to capture")

    def _command_line(self) -> bytes:
        return Path(f"/proc/{self._process.pid}/cmdline").read_bytes().partition(b"exec")[0]


def _fields(status: str) -> Iterator[tuple[str, str]]:
    for line in status.splitlines():
        name, _, value = line.partition(":")
        yield name, value


class Sender:
    """The program that sends, compiled."""

    def __init__(self, directory: Path) -> None:
        """It is made in this directory; raises SystemExit when it cannot be compiled."""
        self._directory = directory
        self._program = directory / "live_sender"
        source = HERE / "live_sender.c"
        try:
            subprocess.run(["gcc", "-O2", "-o", str(self._program), str(source)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"the sender cannot be compiled: {error}") from None

    @contextmanager
    def sending(self, kind: Kind, rate: float, seconds: float, command: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Send, and give what was sent; the connections stay open for as long as the `with` block lasts."""
        templates = self._directory / kind.name
        templates.write_bytes(_templates(kind.data))
        arguments = [str(templates), str(rate), str(seconds), str(kind.batch), str(PROBE_SECONDS), HOSTS[0]]
        process = subprocess.Popen(
            [*command, str(self._program), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the sender failed")
            yield json.loads(line)
        finally:
            process.communicate()


def _templates(size: int) -> bytes:
    """What the sender puts its numbers into: see live_sender.c."""
    fields = {"term": 2, "prev_log_index": _ONE, "prev_log_term": 2, "leader_commit": _OTHER}
    entries = [(2, table.COMMAND, b"c" * size)]
    append = wire.encode_message(table.APPEND_ENTRIES, fields, layout=_LAYOUT, entries=entries)
    fields = {"term": 2, "last_log_index": _ONE}
    result = wire.encode_message(table.APPEND_ENTRIES_RESULT, fields, layout=_LAYOUT)
    handshakes = [wire.encode_handshake("raft", id_, f"{host}:{PORT}") for id_, host in enumerate(HOSTS, 1)]
    one, other = (struct.pack("<Q", marker) for marker in (_ONE, _OTHER))
    places = append.index(one), append.index(other), result.index(one)
    blobs = (struct.pack("<I", len(blob)) + blob for blob in (*handshakes, append, result))
    return b"".join(blobs) + struct.pack("<III", *places)


def load(form: Ours, sender: Sender, kind: Kind, rate: float, seconds: float, command: Sequence[str]) -> Run:
    """Send so much for so long while a form of ours captures it; `command` goes before what runs in the namespace."""
    before = os.getloadavg()[0]
    live = Live(form, command, "-i", "lo", "--port", str(PORT))
    try:
        live.begin()
        with sender.sending(kind, rate, seconds, command) as sent:
            samples, drained = live.end()
            summary = live.finish()
    finally:
        live.kill()
    return _run(live, rate, sent["messages"], sent["bytes"], summary, samples, drained, before)


def real(form: Ours, seconds: float) -> Run:
    """Let a cluster of libraft apply entries as fast as it can while a form of ours captures it on its bridge."""
    before = os.getloadavg()[0]
    with Cluster() as cluster:
        live = Live(form, cluster.network.command(0), "-i", BRIDGE)
        try:
            live.begin()
            cluster.start()
            cluster.load(None)
            time.sleep(seconds)
            cluster.load_off()
            cluster.wait_until_applied()
            for server in cluster.servers:
                cluster.stop(server)
            samples, drained = live.end()
            summary = live.finish()
        finally:
            live.kill()
        logs = (cluster.log(server, "sent") for server in cluster.servers)
        sent = sum(not record["status"] for log in logs for record in log)
    return _run(live, 0, sent, summary["bytes"], summary, samples, drained, before)


def _run(
    live: Live,
    rate: float,
    sent: int,
    size: int,
    summary: dict[str, Any],
    samples: tuple[Sample, ...],
    drained: float,
    before: float,
) -> Run:
    (source,) = summary["sources"]
    told = [came - record["time_ns"] / 1e9 for came, record in live.records if record["event"] == "connection_opened"]
    return Run(
        rate,
        sent,
        size,
        samples[-1].seconds,
        sum(summary["messages"].values()),
        summary["packets"],
        source["received"],
        source["dropped"],
        tuple(told),
        sum(record["event"] == "late" for _, record in live.records),
        drained,
        summary["gaps"],
        samples,
        before,
    )
