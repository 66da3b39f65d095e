"""How much of a run W&B's offline files hold: what it had not written when a kill came is gone, and has to be logged again.

A .wandb file is a sequence of records in the log format of LevelDB (blocks of 32 KiB, a record in one or several pieces, each behind a
header of checksum, length and kind), each a protocol buffer.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
MAGIC = b":W&B"


def recorded(root: Path, run_id: str) -> int:
    """The number of lines that the offline files of a run below `root` hold: one more than their last step."""
    pb: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    last = -1
    for file in root.glob(f"wandb/offline-run-*-{run_id}/*.wandb"):
        for payload in payloads(file):
            record = pb.Record()
            record.ParseFromString(payload)
            if record.WhichOneof("record_type") == "history":
                last = max(last, int(record.history.step.num))
    return last + 1


def payloads(file: Path) -> Iterator[bytes]:
    """The whole records of a .wandb file; what a kill left half written is not among them."""
    data = file.read_bytes()
    if data[:4] != MAGIC:
        return
    at, held = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        piece = data[at + HEADER : at + HEADER + length]
        if kind not in (FULL, FIRST, MIDDLE, LAST) or len(piece) < length:
            return
        held = piece if kind in (FULL, FIRST) else held + piece
        at += HEADER + length
        if kind in (FULL, LAST):
            yield held
