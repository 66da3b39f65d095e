"""`python -m benchmarks.one TOPIC OUT.json [--quick]`: measure one topic in this process."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    topic, out = sys.argv[1], Path(sys.argv[2])
    figures = importlib.import_module(f"benchmarks.{topic}").figures("--quick" in sys.argv)
    out.write_text(json.dumps([f.to_json() for f in figures]))
