"""Real clusters are accused of nothing but known defects, however bad the capture of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect.auditing import audit
from tests import captures, variants
from tests.capture_files import pcap

if TYPE_CHECKING:
    from pathlib import Path


class Known(NamedTuple):
    """A violation in a real capture, which was checked by hand against its packets."""

    file: str
    rule: str
    frame: int
    defect: str | None
    """The known defect of the server's release, if it is one of the catalogue."""


KNOWN = (
    # Entry 2 of 3 has 100 bytes: canonical/raft v0.9.0 does not pad, and its receivers do not read it so.
    Known("odd100-canon-0.9.0.pcap", "ENC-06", 57, None),
    Known("odd100-canon-0.9.0.pcap", "ENC-06", 59, None),
    # Each new leader calls the last entry of the term before committed when a majority has it, before one of its own.
    Known("s5-canon-0.10.0.pcap", "CM-03", 287, "B5"),
    Known("s5-canon-0.10.0.pcap", "CM-03", 737, "B5"),
    Known("s5-canon-0.10.0.pcap", "CM-03", 1195, "B5"),
    Known("s5-canon-0.10.0.pcap", "CM-03", 1461, "B5"),
)


@pytest.mark.parametrize("file", captures.FILES)
def test_real_captures_show_known_defects_and_no_other_violation(file: str) -> None:
    found = [
        Known(file, finding.rule.id, finding.place.frame, ", ".join(one.defect.id for one in finding.defects) or None)
        for finding in audit(str(captures.PCAPS / file)).findings
        if finding.verdict != "observation"
    ]
    assert found == [known for known in KNOWN if known.file == file]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        # What says whether requests are pre-votes is cut off.
        ("s4-ipv6-cowsql-0.22.1.pcap", "snaplen 128"),
        # Whole messages are cut off, behind one of which the end was.
        ("s7-canon-0.18.1-pv.pcap", "snaplen 128"),
        ("s9-canon0.18.1+cowsql0.22.1.pcap", "snaplen 128"),
        # Forwarders of several servers connect from 127.0.0.1.
        ("tls13-cowsql-0.22.1.plain1.pcap", "from 2/51"),
    ],
)
def test_nobody_is_accused_any_more_because_of(file: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "worse.pcap"
    path.write_bytes(pcap(*variants.called(file, name)))
    assert not [finding.message for finding in audit(str(path)).findings if finding.verdict != "observation"]


@pytest.mark.parametrize("file", variants.FILES)
def test_nobody_is_accused_because_of_a_bad_capture(file: str, tmp_path: Path) -> None:
    known = {each.rule for each in KNOWN if each.file == file}
    path = tmp_path / "worse.pcap"
    for name, packets in variants.variants(file):
        path.write_bytes(pcap(*packets))
        findings = audit(str(path)).findings
        accused = {finding.rule.id for finding in findings if finding.verdict != "observation"}
        assert accused <= known, name
