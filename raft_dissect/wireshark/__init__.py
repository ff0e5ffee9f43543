"""The Wireshark dissector: where it is, and how it gets into Wireshark's folder of plugins."""

from pathlib import Path

SCRIPT = Path(__file__).parent / "craft.lua"
