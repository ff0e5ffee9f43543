"""The one error that decoding bytes can raise."""

from __future__ import annotations


class MalformedError(ValueError):
    """Bytes that are complete but cannot mean what they claim to be.

    `offset` is the place, in bytes from the start of the structure that was being decoded. Bytes that are merely
    missing are never malformed: the decoders say so by returning None or a shorter result.
    """

    def __init__(self, detail: str, offset: int = 0) -> None:
        super().__init__(f"{detail} (at byte {offset})")
        self.detail = detail
        self.offset = offset
