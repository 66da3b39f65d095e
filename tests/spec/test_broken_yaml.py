"""A config file that cannot be read is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfevo import spec
from selfevo.cli import main
from selfevo.errors import EXIT_USER, SpecErrors


@pytest.mark.parametrize(
    "text, line, what",
    [
        ("# a config\nname: x\nmodel: {path: ???}\n", "3, column 15", "expected the node content"),
        ("name: x\nseed: 1\nseed: 2\n", "3, column 1", "duplicate key seed"),
        ("name: x\n  seed: 1\n", "2, column 7", "mapping values are not allowed here"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: str, what: str):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\n" + text)
    with pytest.raises(SpecErrors) as caught:
        spec.read(["experiment=mine"], [str(tmp_path)])
    row, column = line.split(",")
    place = f"experiment/mine.yaml:{int(row) + 1},{column}]"
    (message,) = caught.value.lines
    assert what in message and message.endswith(place) and "\n" not in message
    assert main(["validate", "experiment=mine", "--config-dir", str(tmp_path)]) == EXIT_USER
    printed = capsys.readouterr()
    assert place in printed.out + printed.err and "Traceback" not in printed.out + printed.err
