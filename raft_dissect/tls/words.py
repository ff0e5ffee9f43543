"""What there is to say about the TLS in a capture, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.units import counted

if TYPE_CHECKING:
    from raft_dissect.tls.decryption import Decryption


def remarks(decryption: Decryption) -> list[str]:
    """What a reader must know of what was not decrypted."""
    counts = decryption.counts
    lines = []
    if decryption.without_tshark is not None:
        count = counted(counts["without_tshark"], "TLS connection")
        lines.append(
            f"the capture holds secrets for {count}, which tshark decrypts: {decryption.without_tshark.problem}"
        )
    if fits_nothing(decryption):
        lines.append(
            f"no secret fits any of the {counted(counts['without_secret'], 'TLS connection')}: "
            "the key log is of other connections, or was begun after these"
        )
    elif counts["without_secret"]:
        count = counted(counts["without_secret"], "TLS connection")
        lines.append(f"{count} could not be decrypted, for there is no secret of {_them(counts['without_secret'])}")
    if counts["failed"]:
        lines.append(f"{counted(counts['failed'], 'TLS connection')} could not be decrypted: {decryption.failure}")
    if counts["begun_midway"]:
        count = counted(counts["begun_midway"], "TLS connection")
        lines.append(
            f"{count} could not be decrypted, for the capture lacks the handshake of {_them(counts['begun_midway'])}"
        )
    return lines


def fits_nothing(decryption: Decryption) -> bool:
    """Whether there was TLS, and all secrets were of something else."""
    counts = decryption.counts
    opened = counts["decrypted"] or counts["failed"] or counts["without_tshark"]
    return bool(counts["without_secret"]) and not opened


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
