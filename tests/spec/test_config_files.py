"""Config files read by libyaml are what Hydra's own source makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import version
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf
from yaml import YAMLError

from selfevo import spec
from selfevo.spec.files import Files, quick
from selfevo.spec.sources import VERSION_BASE, Configs

ROOT = spec.configs()
NAMES = sorted(str(file.relative_to(ROOT).with_suffix("")) for file in ROOT.rglob("*.yaml"))
SCALARS = """\
# @package mine
a: [1e3, 1.0e-3, 1_000, 0x1F, 0o7, 017, .5, -.inf, .nan, 1:30, 12e03]
b: [yes, No, on, off, true, ~, null, "null", '', 2001-01-01, "${a}", "???", "${oc.env:HOME,x}"]
c: &one {x: 1, y: [2, {z: 3}]}
d: {<<: *one, x: 9}
e: |
  two
  lines
f: >-
  in
  one
"ö{}": {1: a, 2.5: b, true: c}
"""


def both(folder: Path) -> tuple[Files, FileConfigSource]:
    return Files("main", f"file://{folder}"), FileConfigSource("main", f"file://{folder}")


@pytest.mark.slow
def test_every_packaged_config_is_the_same() -> None:
    mine, hydras = both(ROOT)
    assert len(NAMES) > 100
    for name in NAMES:
        assert mine.load_config(name) == hydras.load_config(name), name


def test_numbers_truths_and_texts_are_told_apart_by_omegaconfs_rules(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCALARS, encoding="utf-8")
    mine, hydras = (source.load_config("mine") for source in both(tmp_path))
    plain = [repr(OmegaConf.to_container(r.config, resolve=False)) for r in (mine, hydras)]  # as text: nan is not equal to itself
    assert plain[0] == plain[1] and mine.header == hydras.header == {"package": "mine"}


@pytest.mark.parametrize("text", ["", "# @package _global_\n", "- a\n- b\n", "three words here\n"])
def test_what_holds_no_mapping_is_what_hydra_makes_of_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    mine, hydras = (source.load_config("mine") for source in both(tmp_path))
    assert mine == hydras


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: {b: c\n", "a: b: c\n", "a: \x07\n"])
def test_what_cannot_be_read_is_said_in_hydras_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    said = []
    for source in both(tmp_path):
        with pytest.raises(YAMLError) as error:
            source.load_config("mine")
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("wanted", [None, ObjectType.GROUP, ObjectType.CONFIG])
def test_folders_hold_for_it_what_they_hold_for_hydra(wanted: ObjectType | None, tmp_path: Path) -> None:
    version.setbase(VERSION_BASE)
    for folder in ("__pycache__", "both", "alone/deeper"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("both.yaml", "plain.yaml", "__init__.py", "notes.md", "old.yml", "alone/x.yaml"):
        (tmp_path / file).touch()
    (tmp_path / "linked").symlink_to(tmp_path / "alone")
    (tmp_path / "linked.yaml").symlink_to(tmp_path / "plain.yaml")
    for root, places in ((tmp_path, ("", "alone", "linked")), (ROOT, ("", "experiment", "experiment/tiny", "model"))):
        mine, hydras = both(root)
        for place in places:
            assert mine.list(place, wanted) == hydras.list(place, wanted), place
    mine, hydras = both(tmp_path)
    for name in ("both", "plain", "plain.yaml", "alone", "linked", "notes.md", "old", "old.yml", "nosuch", "", "alone/x", "alone/../plain"):
        assert (mine.is_group(name), mine.is_config(name)) == (hydras.is_group(name), hydras.is_config(name)), name
    for source in (mine, hydras):
        with pytest.raises(FileNotFoundError):
            source.list("nosuch", wanted)


def test_what_is_added_to_the_search_path_is_read_so_and_for_that_config_alone(tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra/mine.yaml").write_text("a: 1\n")
    tree = Configs()
    before = list(tree.loader.repository.sources)
    added = tree.repository([f"hydra.searchpath=[file://{tmp_path}]"])
    assert [type(s).__name__ for s in added.get_sources()].count("Files") == 2
    assert added.load_config("extra/mine").config == {"a": 1} and not tree.repository([]).config_exists("extra/mine")
    assert tree.loader.repository.sources == before


def test_a_file_that_is_not_there_is_hydras_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigLoadError, match="Config not found"):
        both(tmp_path)[0].load_config("mine")


def test_only_hydras_own_source_of_files_is_replaced() -> None:
    mine, hydras = both(ROOT)
    assert isinstance(quick(hydras), Files) and quick(mine) is mine


def test_what_a_command_composes_from_is_read_so() -> None:
    code = "from selfevo.spec.sources import Configs; print(*(type(s).__name__ for s in Configs().loader.repository.sources))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # plugins are looked for once a process
    assert said.stdout.split() == ["ImportlibResourcesConfigSource", "Files", "StructuredConfigSource"]
