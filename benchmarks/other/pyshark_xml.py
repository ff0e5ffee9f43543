"""Count the messages that pyshark finds with the baseline's Lua dissector; in XML mode, the only one that has all."""

import sys
from pathlib import Path

import pyshark  # type: ignore[import-untyped, import-not-found, unused-ignore]  # it has no types, and may be missing

script = Path(__file__).resolve().parent.parent / "baseline.lua"
capture = pyshark.FileCapture(
    sys.argv[1],
    display_filter="craft",
    keep_packets=False,
    custom_parameters=["-X", f"lua_script:{script}"],
)
count = 0
for packet in capture:
    for layer in packet.layers:
        if layer.layer_name == "craft":
            # Messages that end in one frame are fields of one layer.
            count += len(layer.type.all_fields) and bool(layer.term)
capture.close()
print(count)
