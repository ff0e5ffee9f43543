"""The arguments that commands share, and what their words mean."""

from __future__ import annotations

import argparse
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, NoReturn

from raft_dissect import __version__
from raft_dissect.commands.exits import usage
from raft_dissect.selection import KINDS, Moment, Selection
from raft_dissect.wire import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_FILES = """\
FILE is a pcap or pcapng file, plain or compressed (gzip, xz, bzip2, zstd, lz4); "-" is standard input. Several files
are one capture: parts of a rotation, or several capture points of one cluster."""
_EPILOG = f"""\
{_FILES} Exit codes: 0 fine, 2 wrong usage, 3 a
capture could not be read or is damaged (what could be decoded is printed), 4 the output cannot be written, or
something outside is missing, such as tshark or the secrets of TLS."""
AUDIT_EPILOG = f"""\
{_FILES} Exit codes: 0 nothing found that --fail-on names,
also where there is no Raft; 1 something was found that it names, whatever else is wrong; 2 wrong usage; 3 a capture
could not be read or is damaged (what could be decoded is audited), and in that nothing was found that it names; 4 the
output cannot be written, or something outside is missing."""


class Version(argparse.Action):
    """Prints the version and whether the hot path is compiled, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it, and end the run."""
        from raft_dissect.form import describe, module_names  # start-up counts: nothing else needs it

        print(f"raft-dissect {__version__} ({describe(module_names())})")
        parser.exit()


def add_command(
    commands: Commands, name: str, summary: str, run: Callable[[argparse.Namespace], int], *, needs_files: bool = True
) -> argparse.ArgumentParser:
    """Add a command that goes over a capture, with the options that all of those have."""
    command = commands.add_parser(name, help=summary, description=f"Print {summary}.", epilog=_EPILOG)
    command.set_defaults(run=run)
    nargs = "+" if needs_files else "*"
    command.add_argument("files", nargs=nargs, metavar="FILE", help='capture files; "-" is standard input')
    add_reading(command)
    command.add_argument(
        "--follow",
        action="store_true",
        help="wait at the end of FILE, one plain file, for what is still being written to it, until it is removed or "
        "Ctrl-C is pressed",
    )
    command.add_argument(
        "--via-tshark",
        action="store_true",
        help="let tshark unwrap packets of link types and tunnels that are not understood otherwise",
    )
    command.add_argument("--no-progress", action="store_true", help="show no progress on standard error")
    command.add_argument("--quiet", action="store_true", help="say nothing on standard error but errors")
    return command


def add_reading(command: argparse.ArgumentParser) -> None:
    """Add the options that say how packets are read, and times written."""
    command.add_argument(
        "--port",
        type=_ports,
        metavar="N[,N]",
        help="the TCP ports that carry Raft; without it Raft is recognised by its content",
    )
    command.add_argument(
        "--layout",
        choices=[layout.label for layout in LAYOUTS],
        metavar="LABEL",
        help="prefer this layout where the same bytes belong to several",
    )
    command.add_argument(
        "--tls-keys",
        metavar="FILE",
        help="decrypt TLS with this key log (SSLKEYLOGFILE), through tshark; secrets in a pcapng file need no option",
    )
    command.add_argument(
        "--tz",
        type=_zone,
        default=UTC,
        metavar="ZONE",
        help="time zone of all times, such as Europe/Rome; UTC by default",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add the option that asks for JSON."""
    command.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_selection(command: argparse.ArgumentParser) -> None:
    """Add the options that choose messages."""
    selecting = command.add_argument_group("which messages")
    selecting.add_argument(
        "--server", action="append", default=[], metavar="ID", help="sent or received by this server: id or address"
    )
    selecting.add_argument("--peer", action="append", default=[], metavar="ID", help="and this server at the other end")
    selecting.add_argument("--term", type=_terms, metavar="N[-M]", help="of this term or these terms")
    selecting.add_argument(
        "--from",
        dest="begin",
        metavar="TIME",
        help="at or after this time: 2026-11-23T04:46:26.2, 04:46:26.2, or seconds since the epoch",
    )
    selecting.add_argument("--to", dest="end", metavar="TIME", help="before this time")
    selecting.add_argument(
        "--type",
        type=_kinds,
        default=[],
        metavar="NAME[,NAME]",
        help="these messages or diagnostics, such as RequestVote or gap",
    )


def _ports(text: str) -> list[int]:
    try:
        ports = [int(port) for port in text.split(",")]
    except ValueError:
        ports = []
    if not ports or not all(0 < port < 65536 for port in ports):
        raise argparse.ArgumentTypeError(f"no TCP ports: {text}")
    return ports


def _terms(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        terms = range(int(first), int(last or first) + 1)
    except ValueError:
        terms = range(0)
    if not terms:
        raise argparse.ArgumentTypeError(f"no term or range of terms: {text}")
    return terms


def _kinds(text: str) -> list[str]:
    kinds = []
    for name in text.split(","):
        if name.strip().lower() not in KINDS:
            raise argparse.ArgumentTypeError(f"no such type: {name}; there are {', '.join(KINDS.values())}")
        kinds.append(KINDS[name.strip().lower()])
    return kinds


def count(text: str) -> int:
    """A number that is not negative."""
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"no number of messages: {text}")
    return count


def _zone(text: str) -> tzinfo:
    if text.upper() in ("UTC", "Z"):
        return UTC
    import zoneinfo  # here because most runs do without it

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"no time zone is called {text}") from None


def selection_of(options: argparse.Namespace) -> Selection:
    """What the options of `add_selection` choose."""
    begin = moment_of(options.begin, options) if options.begin else None
    end = moment_of(options.end, options) if options.end else None
    return Selection(options.server, options.peer, options.term, begin, end, options.type)


def moment_of(text: str, options: argparse.Namespace) -> Moment:
    """The time that an option names; what is none ends the run with exit code 2."""
    try:
        return Moment(text, options.tz)
    except ValueError as error:
        usage(str(error))
