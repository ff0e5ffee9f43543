"""TLS on the command line: every command reads it, and what is missing for that is said in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raft_dissect.capture import open_capture
from raft_dissect.dissection import Dissection
from raft_dissect.values import Message, Packet
from tests import captures
from tests.capture_files import PCAP_KINDS, pcap_pieces
from tests.captures import PCAPS, contents
from tests.cluster.waiting import wait_for
from tests.command import COMMAND, environment, run
from tests.packets import ETHERNET
from tests.tls_captures import CERTIFICATE, sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark, which decrypts, is not installed")

RUN = "tls13-cowsql-0.22.1"
TLS, KEYS = f"{RUN}.pcap", f"{RUN}.keys"
CLEAR = "s1-cowsql-0.20.0.pcap"
NOWHERE = {"PATH": "/nonexistent"}


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@needs_tshark
@pytest.mark.parametrize("command", ["messages", "events", "report", "audit", "ladder"])
def test_every_command_reads_what_is_inside(command: str) -> None:
    with_keys = run(command, "--json" if command != "ladder" else "--all", "--tls-keys", KEYS, TLS)
    inside = run(command, "--json" if command != "ladder" else "--all", f"{RUN}.dsb.pcapng")
    assert with_keys.out.replace(TLS, "") == inside.out.replace(f"{RUN}.dsb.pcapng", "")
    assert "AppendEntries" in with_keys.out or command in ("events", "audit", "report")
    assert not with_keys.err
    assert with_keys.code == inside.code


@needs_tshark
def test_the_audit_of_a_run_inside_tls_finds_no_violation() -> None:
    done = run("audit", "--tls-keys", KEYS, TLS)
    assert done.code == 0
    assert "violation" not in done.out.partition("\n")[0] or "no violation" in done.out


@needs_tshark
def test_standard_input_and_several_files_are_decrypted_as_well() -> None:
    named = run("messages", "--json", "--tls-keys", KEYS, TLS)
    piped = run("messages", "--json", "--tls-keys", KEYS, "-", stdin=(PCAPS / TLS).read_bytes())
    # Of a pipe each line is printed at once, when it may not be known yet who the receiver is.
    told = [(record["frame"], record["offset"], record["stream"], record["message"]) for record in named.records]
    assert [
        (record["frame"], record["offset"], record["stream"], record["message"]) for record in piped.records
    ] == told
    twice = run("messages", "--json", "--tls-keys", KEYS, TLS, TLS)
    assert len(twice.records) == len(named.records)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "this key log is empty"),
        (b"# comment\nhello world\n", "this is no key log"),
    ],
)
def test_a_key_log_without_secrets_is_an_error(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    done = run("messages", "--tls-keys", str(path), TLS)
    assert done.code == 4
    assert said in done.err.splitlines()[0]
    assert str(path) in done.err.splitlines()[0]


@needs_tshark
def test_secrets_of_something_else_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"CLIENT_RANDOM {'ab' * 32} {'cd' * 48}\n")
    done = run("messages", "--tls-keys", str(path), TLS)
    assert done.code == 4
    assert "no secret fits any of the 33 TLS connections" in done.err.splitlines()[-1] + done.err.splitlines()[0]


def test_without_tshark_a_key_log_is_an_error_that_says_how_to_install_it() -> None:
    done = run("messages", "--tls-keys", KEYS, TLS, env=NOWHERE)
    assert done.code == 4
    assert not done.out
    assert "tshark: it is not installed" in done.err
    assert "apt install tshark" in done.err


def test_without_tshark_secrets_in_the_capture_are_named_in_one_line() -> None:
    done = run("report", f"{RUN}.dsb.pcapng", env=NOWHERE)
    assert done.code == 0
    assert "Inside TLS" in done.out
    assert "the capture holds secrets for 33 TLS connections" in one_line(done.err)


@pytest.mark.parametrize("options", [["--tls-keys", KEYS], []])
def test_clear_text_needs_no_tshark(options: list[str]) -> None:
    done = run("messages", *options, CLEAR, env=NOWHERE)
    assert done.code == 0
    assert len(done.lines) >= len(captures.run_file(CLEAR).messages)


def test_that_a_port_carries_tls_and_what_opens_it_is_one_sentence() -> None:
    line = one_line(run("messages", TLS).err)
    for words in ("port 9443 carries TLS", "--tls-keys", "KeyLogWriter", "SSLKEYLOGFILE", "docs/tls.md"):
        assert words in line


@needs_tshark
def test_a_file_and_a_key_log_that_grow_are_followed(tmp_path: Path) -> None:
    """The secrets of a connection come just after its handshake was captured, as they do in life."""
    made = tmp_path / "made"
    packets = sealed(captures.packets(CLEAR), made)
    lines = made.read_bytes()
    half = len(packets) // 2
    # Times of now, since nobody waits for the secrets of a connection that is long over.
    shift = time.time_ns() - packets[0].time_ns + 1_000_000_000
    packets = [packet._replace(time_ns=packet.time_ns + shift) for packet in packets]
    capture, log = tmp_path / "capture.pcap", tmp_path / "keys"
    capture.write_bytes(_pcap(packets[:half]))
    log.write_bytes(b"")
    command = [*COMMAND, "messages", "--json", "--follow", "--tls-keys", str(log), str(capture)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        wait_for("the capture to be read", lambda: capture in _open_files(process.pid), 60)
        with log.open("ab") as file:
            file.write(lines)
        with capture.open("ab") as file:
            file.write(_pcap(packets[half:])[24:])
        time.sleep(1.0)
        capture.unlink()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == len(captures.run_file(CLEAR).messages)


def _open_files(pid: int) -> list[Path]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.append(each.readlink())
    return found


def _pcap(packets: Sequence[Packet]) -> bytes:
    return b"".join(pcap_pieces(packets, PCAP_KINDS["nano-little"]))


def ppp(packet: Packet) -> Packet:
    """In PPP with its address and control bytes (LINKTYPE_PPP)."""
    return _wrapped(packet, b"\xff\x03\x00\x21" + packet.data[14:], 9)


def nflog(packet: Packet) -> Packet:
    """As Linux's nflog gives it (LINKTYPE_NFLOG): the packet is one of several options."""
    payload = packet.data[14:]
    option = (len(payload) + 4).to_bytes(2, sys.byteorder) + (9).to_bytes(2, sys.byteorder) + payload
    return _wrapped(packet, b"\x02\x00\x00\x00" + option, 239)


def gtp(packet: Packet) -> Packet:
    """In a GTP-U tunnel between two other hosts."""
    inner = packet.data[14 : 14 + int.from_bytes(packet.data[16:18], "big")]
    tunnel = b"\x30\xff" + len(inner).to_bytes(2, "big") + (77).to_bytes(4, "big") + inner
    udp = b"\x08\x68\x08\x68" + (len(tunnel) + 8).to_bytes(2, "big") + b"\0\0" + tunnel
    total = (len(udp) + 20).to_bytes(2, "big")
    around = b"\x45\0" + total + b"\0\1\0\0\x40\x11\0\0" + bytes([192, 0, 2, 1, 192, 0, 2, 2])
    return _wrapped(packet, packet.data[:14] + around + udp, ETHERNET)


def _wrapped(packet: Packet, data: bytes, link_type: int) -> Packet:
    if packet.data[12:14] != b"\x08\x00":
        return packet
    return packet._replace(data=data, link_type=link_type, original_length=len(data))


@needs_tshark
@pytest.mark.parametrize("wrap", [ppp, nflog, gtp])
def test_link_types_and_tunnels_that_only_wireshark_knows(wrap: object) -> None:
    assert callable(wrap)
    clear = captures.run_file(CLEAR)
    packets = [wrap(packet) for packet in captures.packets(CLEAR)]
    assert not [event for event in Dissection(packets) if isinstance(event, Message)]
    opened = Dissection(packets, via_tshark=True, hash_payload=True)
    assert contents(event for event in opened if isinstance(event, Message)) == contents(clear.messages)


@needs_tshark
def test_tls_in_a_tunnel_that_only_wireshark_knows(tmp_path: Path) -> None:
    clear = captures.run_file(CLEAR)
    packets = [gtp(packet) for packet in sealed(captures.packets(CLEAR), tmp_path / "keys")]
    opened = Dissection(packets, via_tshark=True, tls_keys=tmp_path / "keys", hash_payload=True)
    found = contents((event for event in opened if isinstance(event, Message)), offset=False)
    assert found == contents(clear.messages, offset=False)


@needs_tshark
def test_what_needs_no_unwrapping_stays_as_it_is() -> None:
    plain, asked = run("messages", "--json", CLEAR), run("messages", "--json", "--via-tshark", CLEAR)
    assert asked.out == plain.out
    with open_capture([str(PCAPS / CLEAR)]) as capture:
        assert capture.size


def test_via_tshark_without_tshark_is_an_error() -> None:
    done = run("messages", "--via-tshark", CLEAR, env=NOWHERE)
    assert done.code == 4
    assert "tshark: it is not installed" in done.err


@needs_tshark
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may capture")
def test_live_reads_what_is_inside_while_it_comes(tmp_path: Path) -> None:
    log = tmp_path / "keys"
    log.touch()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.keylog_filename = str(log)
    stream = captures.client_streams(CLEAR)[0]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = [
            *COMMAND,
            "live",
            "-i",
            "lo",
            "--port",
            str(port),
            "--user",
            "root",
            "--json",
            "--tls-keys",
            str(log),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
            time.sleep(2.0)  # it captures by then
            accepting = threading.Thread(target=_receive, args=(listening, server))
            accepting.start()
            with client.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
                for begin in range(0, len(stream.data), 5_000):
                    connection.sendall(stream.data[begin : begin + 5_000])
                connection.shutdown(socket.SHUT_WR)  # with close alone the kernel would throw away what is under way
                accepting.join()
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    sent = Counter(m.name for m in captures.run_file(CLEAR).messages if m.stream.source.port == stream.client.port)
    assert summary["messages"] == sent


def _receive(listening: socket.socket, server: ssl.SSLContext) -> None:
    """Take one connection, and all that comes on it."""
    accepted, _ = listening.accept()
    with server.wrap_socket(accepted, server_side=True) as connection:
        while connection.recv(65536):
            pass
