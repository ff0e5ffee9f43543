"""The command `wireshark`: the dissector for Wireshark and tshark, put into the user's plugin folder or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.commands.exits import FINE, MISSING, complain

if TYPE_CHECKING:
    import argparse

    from raft_dissect.commands.arguments import Commands

_EPILOG = """\
Exit codes: 0 fine, 2 wrong usage, 4 tshark is missing or too old, does not load the dissector, or its folder cannot be
written."""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    summary = "the dissector for Wireshark and tshark"
    command = commands.add_parser(
        "wireshark", help=summary, description=f"Install or remove {summary}.", epilog=_EPILOG
    )
    command.set_defaults(run=run)
    command.add_argument(
        "what",
        choices=["install", "remove", "path"],
        help="install: put it into your plugin folder, and check that tshark loads it; remove: take it out again; "
        "path: print where it is, for tshark -X lua_script:FILE",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.wireshark import WiresharkError, install, path, remove

    try:
        if options.what == "path":
            print(path())
        elif options.what == "install":
            print(f"installed as {install()}")
        else:
            removed = remove()
            print("it was not installed" if removed is None else f"removed {removed}")
    except WiresharkError as error:
        return complain(str(error), MISSING)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}", MISSING)
    return FINE
