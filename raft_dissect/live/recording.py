"""Packets that are written to files on their way to the analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.columns import PacketBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.capture.interfaces import LiveCapture
    from raft_dissect.capture.writer import CaptureWriter
    from raft_dissect.values import CaptureProblem, TimePassed


class Recording:
    """A live capture whose packets are written before anything is made of them."""

    def __init__(self, capture: LiveCapture, writer: CaptureWriter | None) -> None:
        self._capture = capture
        self._writer = writer
        self.problems: list[str] = []
        """What was wrong with the writing, in a line each; the capture goes on all the same."""

    def blocks(self) -> Iterator[PacketBlock | CaptureProblem | TimePassed]:
        """Yield what the capture does."""
        for item in self._capture.blocks():
            if self._writer is not None and isinstance(item, PacketBlock):
                self._note(self._writer.write(item))
            yield item

    def close(self) -> None:
        """End the capture and the file."""
        if self._writer is not None:
            self._note(self._writer.close())
        self._capture.close()

    def _note(self, problem: str | None) -> None:
        if problem is not None:
            self.problems.append(problem)
