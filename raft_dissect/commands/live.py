"""The command `live`: what happens in clusters while it happens, from the interfaces that their traffic passes."""

from __future__ import annotations

import argparse
import re
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import add_reading
from raft_dissect.commands.exits import DAMAGED, FINE, MISSING, complain, unavailable, usage
from raft_dissect.commands.run import screen
from raft_dissect.report.terminal import wrapped
from raft_dissect.report.times import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.capture.interfaces import LiveCapture
    from raft_dissect.capture.writer import CaptureWriter
    from raft_dissect.commands.arguments import Commands
    from raft_dissect.live.metrics.address import Address
    from raft_dissect.live.view import Snapshot, View
    from raft_dissect.tls.keylog import KeyLog

_EPILOG = """\
IFACE is the name of an interface, a shell pattern such as 'veth*', or any. Ctrl-C ends it with a summary, and with
complete files. Exit codes: 0 fine, 2 wrong usage, 3 there is no such interface, or what was captured could not be
written, 4 something outside is missing, such as the permission to capture (it is said how to get it)."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)i?B?")
_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_IMPORTED_LATER = (
    "hashlib",
    "socket",
    "threading",
    "unicodedata",
    "raft_dissect.capture.writer",
    "raft_dissect.dissection",
    "raft_dissect.live.lines",
    "raft_dissect.live.loop",
    "raft_dissect.live.recording",
)
"""Modules that this command and what it calls import where they are needed, which may be while packets come."""
_SCREEN = ("raft_dissect.live.screen.app", "textual.drivers.linux_driver", "textual.widgets")
"""Those of the full-screen view."""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    summary = "what happens on network interfaces, as it happens"
    command = commands.add_parser("live", help=summary, description=f"Print {summary}.", epilog=_EPILOG)
    command.set_defaults(run=run)
    command.add_argument(
        "-i", "--interface", action="append", required=True, metavar="IFACE", help="capture here; may be given often"
    )
    add_reading(command)
    showing = command.add_mutually_exclusive_group()
    showing.add_argument("--json", action="store_true", help="print JSON instead of text")
    showing.add_argument("--screen", action="store_true", help="show it on a full screen; ? lists its keys")
    command.add_argument(
        "--metrics",
        type=_address,
        metavar="[ADDR]:PORT",
        help="serve metrics for Prometheus, at 127.0.0.1 where ADDR is left out",
    )
    command.add_argument("--for", dest="seconds", type=_seconds, metavar="SECONDS", help="end after so long")
    command.add_argument(
        "--ring-size", type=_size, metavar="SIZE", help="the kernel's room for packets that wait, 64M by default"
    )
    command.add_argument(
        "--user",
        metavar="NAME",
        help="when started as root: go on as this user; without it as the one who called sudo, or as nobody",
    )
    writing = command.add_argument_group("keeping the packets")
    writing.add_argument("--write", metavar="FILE", help="write them to FILE.pcapng or FILE.pcap")
    writing.add_argument("--rotate-size", type=_size, metavar="SIZE", help="begin the next file at this size: 100M")
    writing.add_argument("--rotate-seconds", type=_seconds, metavar="N", help="begin the next file after so long")
    writing.add_argument("--rotate-files", type=int, metavar="N", help="keep the last N files")


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.capture.errors import CaptureError, UnavailableError
    from raft_dissect.capture.interfaces import open_interfaces
    from raft_dissect.capture.interfaces.live import RING_SIZE
    from raft_dissect.capture.interfaces.privileges import drop_privileges

    if options.screen and (lacking := _lacking_for_screen()):
        return complain(lacking, MISSING)
    if options.rotate_files is not None and not (options.rotate_size or options.rotate_seconds):
        usage("--rotate-files needs --rotate-size or --rotate-seconds")
    try:
        with ExitStack() as stack:
            ring_size = options.ring_size or RING_SIZE
            capture = stack.enter_context(open_interfaces(options.interface, options.port, ring_size=ring_size))
            metrics = _metrics(options, stack)  # the port may be one that only root may open
            key_log = _key_log(options)
            _import_all(_SCREEN if options.screen else ())
            drop_privileges(options.user, is_loaded=not (options.screen or options.metrics))
            writer = _writer(options, capture)
            code = _watch(options, capture, writer, metrics, key_log)
    except UnavailableError as error:
        return unavailable(error)
    except CaptureError as error:
        return complain(str(error))
    return code


def _lacking_for_screen() -> str | None:
    from raft_dissect.live.screen import what_is_missing

    return what_is_missing()


def _metrics(options: argparse.Namespace, stack: ExitStack) -> list[View]:
    """Begin to serve metrics, if that was asked for."""
    if options.metrics is None:
        return []
    from raft_dissect.capture.errors import UnavailableError
    from raft_dissect.live.metrics import MetricsError, MetricsView

    try:
        view = stack.enter_context(MetricsView(options.metrics, clock=time.time_ns))
    except MetricsError as error:
        raise UnavailableError("--metrics", str(error)) from error
    complain(f"metrics are at {view.url}")
    return [view]


def _import_all(more: Sequence[str]) -> None:
    """Import everything while this is still possible: root's own folders, where Python may be, are closed to others."""
    from importlib import import_module

    for name in (*_IMPORTED_LATER, *more):
        import_module(name)


def _writer(options: argparse.Namespace, capture: LiveCapture) -> CaptureWriter | None:
    if options.write is None:
        if options.rotate_size or options.rotate_seconds:
            usage("--rotate-size and --rotate-seconds belong to --write FILE")
        return None
    from raft_dissect.capture.writer import CaptureWriter, Rotation

    return CaptureWriter(
        options.write, capture, Rotation(options.rotate_size, options.rotate_seconds, options.rotate_files)
    )


def _key_log(options: argparse.Namespace) -> KeyLog | None:
    """The key log that the options name, opened while there are the privileges for it."""
    if options.tls_keys is None:
        return None
    import raft_dissect.tls.decryption  # noqa: F401 - afterwards the files of Python may be out of reach
    from raft_dissect.tls.keylog import KeyLog

    return KeyLog(options.tls_keys, grows=True)


def _watch(
    options: argparse.Namespace,
    capture: LiveCapture,
    writer: CaptureWriter | None,
    metrics: Sequence[View],
    key_log: KeyLog | None,
) -> int:
    """Go on until somebody ends it, or there is nothing to capture on any more."""
    from raft_dissect.dissection import Dissection
    from raft_dissect.live.loop import Loop
    from raft_dissect.live.recording import Recording
    from raft_dissect.live.view import SourceState

    recording = Recording(capture, writer)
    dissection = Dissection(recording, ports=options.port, layout=options.layout, digest_data=True, tls_keys=key_log)

    def sources() -> tuple[SourceState, ...]:
        return tuple(SourceState(*counts) for counts in capture.statistics())

    def run(view: View) -> Snapshot:
        return Loop(dissection, [view, *metrics], sources=sources, is_live=True).run()

    with _ended_after(options.seconds, capture):
        if options.screen:
            _show(options, capture, run)
        else:
            with _ended_by_signals(capture):
                run(_lines(options, capture))
    for problem in recording.problems:
        complain(problem)
    return DAMAGED if recording.problems else FINE


def _show(options: argparse.Namespace, capture: LiveCapture, run: Callable[[View], Snapshot]) -> None:
    """Show a full screen until somebody leaves it, and then the summary."""
    from raft_dissect.live.lines import summary
    from raft_dissect.live.screen import ScreenView, run_screen

    view = ScreenView(Clock(options.tz))
    ended = run_screen(view, lambda: run(view), capture.stop)
    if ended.last is not None:
        print("\n".join(wrapped(summary(ended.last), screen()[1], "", "")))


def _lines(options: argparse.Namespace, capture: LiveCapture) -> View:
    from raft_dissect.live.lines import JsonLines, TextLines

    clock = Clock(options.tz)
    if options.json:
        return JsonLines(clock, capture.files)
    style, width = screen()
    names = ", ".join(capture.files)
    ports = "" if options.port is None else f", port {', '.join(map(str, options.port))}"
    complain(f"capturing on {names}{ports}; Ctrl-C ends it")
    return TextLines(clock, style, width)


@contextmanager
def _ended_by_signals(capture: LiveCapture) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the capture, so that all of it is told; pressed again Ctrl-C ends the run."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        capture.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ended_after(seconds: float | None, capture: LiveCapture) -> Iterator[None]:
    """End the capture after a while, if that was asked for."""
    if seconds is None:
        yield
        return
    from threading import Timer

    timer = Timer(seconds, capture.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _address(text: str) -> Address:
    from raft_dissect.live.metrics.address import parse_address  # here because most runs do without it

    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"no number of seconds: {text}")
    return seconds


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"no size, such as 100M: {text}")
    return size
