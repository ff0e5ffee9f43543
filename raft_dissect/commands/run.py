"""One pass of a command over the capture that its options name, with what every command shows beside its result."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from raft_dissect.capture import CaptureError
from raft_dissect.commands.exits import DAMAGED, FINE, MISSING, complain, usage
from raft_dissect.dissection import Dissection
from raft_dissect.report.terminal import Style, can_write_blocks
from raft_dissect.report.times import Clock
from raft_dissect.report.words import other_connections
from raft_dissect.units import counted
from raft_dissect.values import Diagnostic

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Event

    Beaten = tuple[MessageBatch, int | None]

_PROGRESS_SECONDS = 0.2


def screen() -> tuple[Style, int | None]:
    """What whoever reads standard output can see, and where its lines end; None for no end."""
    terminal = sys.stdout.isatty()
    colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if terminal else None
    return Style(colours, can_write_blocks(sys.stdout.encoding)), width


class Run:
    """One pass over the capture that the options name, with what every command shows beside its result."""

    def __init__(
        self,
        options: argparse.Namespace,
        *,
        hash_payload: bool = False,
        digest_data: bool = False,
        prints_lines: bool = False,
        watch_sealed: bool = False,
    ) -> None:
        if options.follow and len(options.files) > 1:
            usage("only one file can be followed: --follow takes one FILE")
        self.clock = Clock(options.tz)
        self.style, self.width = screen()
        self.files: list[str] = list(options.files)
        self._unreadable: list[CaptureError] = []
        self.dissection = self._open(options, hash_payload, digest_data, watch_sealed)
        self._quiet = options.quiet
        self._follow = options.follow
        watched = sys.stderr.isatty() and not (
            sys.stdout.isatty() and prints_lines
        )  # there the lines themselves are progress
        self._progress = watched and not (options.quiet or options.no_progress)
        self._damage: list[Diagnostic] = []

    def _open(
        self, options: argparse.Namespace, hash_payload: bool, digest_data: bool, watch_sealed: bool
    ) -> Dissection:
        """Open all files; of several, one that cannot be read does not keep the others from being read."""
        while True:
            try:
                return Dissection(
                    self.files,
                    ports=options.port,
                    layout=options.layout,
                    hash_payload=hash_payload,
                    digest_data=digest_data,
                    follow=options.follow,
                    tls_keys=options.tls_keys,
                    via_tshark=options.via_tshark,
                    watch_sealed=watch_sealed,
                )
            except CaptureError as error:
                if len(self.files) == 1 or error.path not in self.files:
                    raise
                self._unreadable.append(error)
                self.files.remove(error.path)

    @property
    def reads_files(self) -> bool:
        """Whether all of the capture is there already, so that nobody waits for the next line."""
        capture = self.dissection.capture
        return capture is not None and capture.size is not None

    @property
    def begin_ns(self) -> int:
        """Time of the first packet."""
        return self.dissection.statistics.first_ns or 0

    @property
    def end_ns(self) -> int:
        """Time of the last packet so far."""
        return self.dissection.statistics.last_ns or 0

    def events(self) -> Iterator[Event]:
        """Every event, while progress is shown and damaged files are remembered."""
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[MessageBatch]:
        """The same in batches."""
        return (batch for batch, _ in self.beats(0))

    def beats(self, every_ns: int) -> Iterator[tuple[MessageBatch, int | None]]:
        """The same with the times at which so many nanoseconds of the capture have passed; see `Dissection.beats`."""
        with self._ended_by_interrupt() if self._follow else nullcontext():
            beats = self.dissection.beats(every_ns)
            for batch, beat_ns in self._with_progress(beats) if self._progress else beats:
                for _, event in batch.others:
                    if isinstance(event, Diagnostic) and event.kind in ("file_damaged", "file_truncated"):
                        self._damage.append(event)
                yield batch, beat_ns

    @contextmanager
    def _ended_by_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends the capture, so that what is known by then is printed; the second one ends the run.

        A pipe ends with the program that writes into it, which the same Ctrl-C ends as well.
        """
        import signal  # here because most runs do without it

        def stop(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self.dissection.capture is not None:
                self.dissection.capture.stop_following()

        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield  # whoever started this run wants no such interrupts
            return
        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _with_progress(self, beats: Iterator[Beaten]) -> Iterator[Beaten]:
        capture = self.dissection.capture
        due = time.monotonic() + _PROGRESS_SECONDS
        shown = False
        for beaten in beats:
            yield beaten
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _PROGRESS_SECONDS
            packets = self.dissection.statistics.packets
            percent = ""
            if capture is not None and capture.size:
                percent = f" {100 * capture.bytes_read // capture.size}%"
            print(f"\rreading:{percent} {packets:,} packets", end="", file=sys.stderr, flush=True)
            shown = True
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def finish(self) -> int:
        """Say what a reader of the result must know, and give the exit code."""
        sys.stdout.flush()
        for damage in self._damage:
            where = f"after frame {damage.place.frame}, at byte {damage.offset}"
            complain(f"{self.files[damage.place.file]}: {where}: {damage.detail}")
        for error in self._unreadable:
            complain(str(error))
        if self._damage or self._unreadable:
            return DAMAGED
        return self._finish_decryption()

    def _finish_decryption(self) -> int:
        """Say what could not be decrypted; that nothing could is an error where it was asked for."""
        decryption = self.dissection.decryption
        if decryption is None:
            return FINE
        from raft_dissect.tls.words import fits_nothing, remarks  # few captures are of TLS

        failed = decryption.required and fits_nothing(decryption)
        for line in remarks(decryption):
            if failed or not self._quiet:
                complain(line)
        return MISSING if failed else FINE

    def remark(self, line: str) -> None:
        """Say something on standard error that is no error."""
        if not self._quiet:
            complain(line)

    def say_nothing_found(self, messages: int) -> None:
        """Say why there is no line at all: no Raft, or nothing of what was asked for."""
        statistics = self.dissection.statistics
        if statistics.streams["raft"]:
            line = f"none of {counted(messages, 'message')} is what was asked for"
        else:
            ports = [port for port, _ in statistics.tls_ports.most_common()]
            others = other_connections(statistics.streams, ports)
            line = f"no Raft traffic found in {counted(statistics.packets, 'packet')}{others}"
        self.remark(line)
