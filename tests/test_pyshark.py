"""pyshark's captures: nothing is lost, nothing stays behind, and what is wrong is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raft_dissect
from raft_dissect import wireshark
from tests.captures import PCAPS, truth
from tests.networks import needs_root, new_namespace
from tests.packets import pieces
from tests.pysharks import (
    Votes,
    children,
    memory,
    needs_pyshark,
    open_files,
    skip_where_pyshark_cannot_be,
    write_heartbeats,
)
from tests.test_wireshark_plugin import program
from tests.variants import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

skip_where_pyshark_cannot_be()
pytestmark = needs_pyshark

SMALL = PCAPS / "s1-canon-0.9.0.pcap"
IN_SMALL = sum(totals["received"] for totals in truth("s1-canon-0.9.0")["message_totals"].values())
"""Messages in it, as its servers logged."""


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """Whatever a test does: afterwards no process runs and no file is open that was not before."""
    before = children(), open_files()
    yield
    assert (children(), open_files()) == before


def count(path: Path | str = SMALL, **options: Any) -> int:
    with wireshark.file_capture(path, **options) as packets:
        return sum(len(wireshark.messages(packet)) for packet in packets)


# --- Nothing is lost, nothing grows ---


def test_ten_runs_over_thousands_of_packets_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    """2,000 packets each; 10,000 where time does not matter, as with the variants of captures."""
    connections = 100 if EVERY else 20
    path = tmp_path / "heartbeats.pcap"
    sent = write_heartbeats(path, connections)
    held: list[tuple[int, int, set[int]]] = []
    # Of each connection the handshake, and six times seven packets in which a heartbeat ends.
    for display_filter, expected in [(None, 100 * connections), *[("craft", connections * (1 + 6 * 7))] * 9]:
        indexes: list[int] = []
        packets = 0
        with wireshark.file_capture(path, display_filter=display_filter) as opened:
            for packet in opened:
                packets += 1
                indexes += [message.fields["prev_log_index"] for message in wireshark.messages(packet)]
        assert packets == expected
        assert indexes == list(range(1, sent + 1))
        del packet
        held.append((memory(), open_files(), children()))
    assert {files for _, files, _ in held} == {held[0][1]}
    assert not any(processes for _, _, processes in held)
    # What the first runs take once is not what a run leaves behind.
    assert held[-1][0] - held[2][0] < 1 << (20 if EVERY else 18)


def test_packets_are_given_again_in_another_run() -> None:
    with wireshark.file_capture(SMALL) as packets:
        first = [wireshark.messages(packet) for packet in packets]
        second = [wireshark.messages(packet) for packet in packets]
    assert sum(map(len, first)) == sum(map(len, second)) == IN_SMALL


def test_packets_can_be_kept() -> None:
    with wireshark.file_capture(SMALL, keep_packets=True) as packets:
        packets.load_packets()
        assert sum(len(wireshark.messages(packet)) for packet in packets) == IN_SMALL
        numbers = [packet.number for packet in packets]
    with wireshark.file_capture(SMALL, keep_packets=True) as packets:
        assert [packets[3].number, packets[0].number] == [numbers[3], numbers[0]]


@given(
    sizes=st.lists(st.integers(0, 40), max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_packets_are_the_same_wherever_the_output_of_tshark_is_cut(sizes: list[int], cuts: list[int]) -> None:
    from raft_dissect.wireshark.pyshark_captures import Cutter

    packets = [b"<packet>" + b"</pack>"[: size % 8] * size + b"</packet>" for size in sizes]
    output = b"<pdml>\n" + b"\n".join(packets) + b"\n</pdml>"
    cutter = Cutter()
    assert [packet for _, piece in pieces(output, cuts) for packet in cutter.cut(piece)] == packets


# --- Everything ends ---


def leave_early(packets: Any) -> None:
    for _ in packets:
        break


def fail(packets: Any) -> None:
    for _ in packets:
        raise KeyError("of the caller")


def keep_iterator(packets: Any) -> None:
    kept.append(iter(packets))
    next(kept[-1])


def stop_capture(packets: Any) -> None:
    from pyshark.capture.capture import StopCapture

    def stop(_: Any) -> None:
        raise StopCapture

    packets.apply_on_packets(stop)


kept: list[Iterator[Any]] = []


@pytest.mark.parametrize("use", [leave_early, fail, keep_iterator, stop_capture])
def test_a_capture_that_is_not_read_to_its_end_is_ended(use: Callable[[Any], None]) -> None:
    before = children(), open_files()
    with suppress(KeyError), wireshark.file_capture(PCAPS / "s6-canon-0.18.1.pcap") as packets:
        use(packets)
    assert (children(), open_files()) == before
    for iterator in kept:
        assert list(iterator) == []
    kept.clear()


def test_a_capture_that_nobody_closes_is_ended_when_it_is_forgotten() -> None:
    packets = iter(wireshark.file_capture(PCAPS / "s6-canon-0.18.1.pcap"))
    next(packets)
    assert children()
    del packets
    assert not children()


def test_a_capture_is_read_where_an_event_loop_runs_and_in_other_threads() -> None:
    async def inside() -> tuple[int, int]:
        return count(), await asyncio.to_thread(count)

    assert asyncio.run(inside()) == (IN_SMALL, IN_SMALL)


# --- Errors ---


def message_of(error: pytest.ExceptionInfo[Exception]) -> str:
    """What is said, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_file_that_is_cut_off_is_an_error_behind_its_messages(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(SMALL.read_bytes()[:100_000])
    found: list[wireshark.ShownMessage] = []
    with wireshark.file_capture(path) as packets, pytest.raises(wireshark.TsharkFailedError) as error:
        found.extend(message for packet in packets for message in wireshark.messages(packet))
    assert message_of(error).endswith("appears to have been cut short in the middle of a packet.")
    assert 100 < len(found) < IN_SMALL


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"display_filter": "craft.no_such_field == 1"}, "craft.no_such_field"),
        ({"override_prefs": {"craft.no_such_preference": "1"}}, "unknown preference"),
    ],
)
def test_what_tshark_does_not_know_is_an_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(wireshark.TsharkFailedError, match=said) as error:
        count(**options)
    assert message_of(error).startswith("tshark: ")


def test_what_would_lose_messages_or_be_ignored_is_refused(tmp_path: Path) -> None:
    for name in ("use_json", "use_ek", "include_raw", "only_summaries", "eventloop", "tshark_path", "capture_filter"):
        with pytest.raises(ValueError, match=f"{name} is not taken: "):
            count(SMALL, **{name: True})
    with pytest.raises(ValueError, match="1 to 65535"):
        wireshark.file_capture(SMALL, ports=[0])
    with pytest.raises(FileNotFoundError, match="no key log file"):
        wireshark.file_capture(SMALL, tls_keys=tmp_path / "keys")
    with pytest.raises(FileNotFoundError, match=r"none\.pcap"):
        wireshark.file_capture(tmp_path / "none.pcap")


def test_a_tshark_that_is_missing_or_too_old_is_said(tmp_path: Path) -> None:
    with pytest.raises(wireshark.TsharkMissingError, match="not installed"):
        wireshark.file_capture(SMALL, tshark=str(tmp_path / "tshark"))
    old = program(tmp_path, "TShark (Wireshark) 3.6.2 (Git v3.6.2 packaged as 3.6.2-2)")
    with pytest.raises(wireshark.TsharkTooOldError, match=r"4\.0 or later"):
        wireshark.live_capture("lo", tshark=old)


def test_a_tshark_that_loads_no_scripts_is_said_and_is_no_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "tshark"
    path.write_text(
        "#!/bin/bash\n"
        'while (($#)); do if [ "$1" = -X ]; then shift 2; else kept+=("$1"); shift; fi; done\n'
        f'exec {shutil.which("tshark")} "${{kept[@]}}"\n'
    )
    path.chmod(0o755)
    with pytest.raises(wireshark.NotLoadedError, match="Lua scripts switched off") as error:
        wireshark.file_capture(SMALL, tshark=str(path))
    message_of(error)


def test_a_tshark_that_dies_is_not_taken_for_one_without_scripts(tmp_path: Path) -> None:
    path = tmp_path / "tshark"
    path.write_text(
        '#!/bin/sh\ncase "$2" in\nprotocols) kill -9 $$ ;;\nfolders) echo "Personal Lua Plugins: /nowhere" ;;\n'
        '*) echo "TShark (Wireshark) 4.2.0 (Git v4.2.0)" ;;\nesac\n'
    )
    path.chmod(0o755)
    with pytest.raises(wireshark.NotLoadedError, match="it ended with -9") as error:
        wireshark.file_capture(SMALL, tshark=str(path))
    message_of(error)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of scripts of a user who has never used Wireshark."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "WIRESHARK_PLUGIN_DIR", "WIRESHARK_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = wireshark.plugin_folder()
    folder.mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("plugins")
def test_the_dissector_may_be_installed_in_wireshark_as_well() -> None:
    wireshark.install()
    assert count() == IN_SMALL


@pytest.mark.usefixtures("plugins")
def test_another_release_of_the_dissector_in_wireshark_is_said() -> None:
    installed = wireshark.install()
    installed.write_text(installed.read_text().replace('local VERSION = "', 'local VERSION = "0.0.1-'))
    with pytest.raises(wireshark.NotLoadedError, match="two protocols"):
        wireshark.file_capture(SMALL)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("display_filter", ["craft", None])
def test_a_dissector_that_fails_at_a_packet_is_an_error(display_filter: str | None) -> None:
    installed = wireshark.install()
    broken = "function SHOW.handshake(page, unit)\n"
    installed.write_text(installed.read_text().replace(broken, f'{broken}  error("no luck")\n'))
    with pytest.raises(wireshark.DissectorError, match="no luck") as error:
        count(display_filter=display_filter)
    message_of(error)


@pytest.mark.parametrize("release", [None, "0.5.3"])
def test_a_pyshark_that_is_missing_or_too_old_is_said(tmp_path: Path, release: str | None) -> None:
    # A Python that has nothing but this package, and perhaps that pyshark.
    (tmp_path / "raft_dissect").symlink_to(Path(raft_dissect.__file__).parent)
    if release:
        (tmp_path / "pyshark").mkdir()
        (tmp_path / "pyshark" / "__init__.py").touch()
        (tmp_path / f"pyshark-{release}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: pyshark\nVersion: {release}\n"
        (tmp_path / f"pyshark-{release}.dist-info" / "METADATA").write_text(metadata)
    script = f"""
from raft_dissect import wireshark
try:
    wireshark.file_capture({str(SMALL)!r})
except wireshark.WiresharkError as error:
    print(type(error).__name__, error)
"""
    run = subprocess.run(
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    (line,) = run.stdout.splitlines()
    install = f"{Path(sys.executable).name} -m pip install 'raft_dissect[pyshark]'"
    if release:
        assert line == f"PysharkTooOldError pyshark is version {release}; 0.6 or later is needed: {install}"
    else:
        assert line == f"PysharkMissingError pyshark is not installed: {install}"


def test_pyshark_is_imported_by_captures_alone() -> None:
    script = "import sys; from raft_dissect import wireshark; print('pyshark' in sys.modules, 'lxml' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


# --- Live ---


@needs_root
def test_an_interface_gives_messages_until_it_is_closed() -> None:
    terms: list[int] = []
    with new_namespace(), Votes(), wireshark.live_capture("lo", bpf_filter="tcp") as packets:
        for packet in packets:
            terms += [message.fields["term"] for message in wireshark.messages(packet)]
            if len(terms) == 20:
                break
        assert children() == set()  # since the loop was left
        ended = packets.sniff_continuously(packet_count=2)
        assert [len(wireshark.messages(packet)) for packet in ended] == [1, 1]
    assert terms == list(range(terms[0], terms[0] + 20))


@needs_root
def test_an_interface_on_which_nothing_comes_is_waited_for_as_long_as_asked() -> None:
    with new_namespace(), wireshark.live_capture("lo") as packets:
        packets.sniff(timeout=1)
        assert len(packets) == 0
        with pytest.raises(TimeoutError):
            packets.apply_on_packets(print, timeout=0.2)


@needs_root
def test_an_interface_that_is_not_there_is_said() -> None:
    with (
        new_namespace(),
        wireshark.live_capture(["lo", "none0"]) as packets,
        pytest.raises(wireshark.TsharkFailedError, match="none0") as error,
    ):
        next(iter(packets))
    message_of(error)
