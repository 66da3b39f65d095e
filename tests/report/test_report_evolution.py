"""What a memory's versions changed, and what a pool admitted and retired."""

import json

from selfevo import report
from selfevo.report import evolution
from selfevo.report.read import read_run


def test_versions_are_compared_with_what_they_were_made_of(run_dir, make):
    root = run_dir([make.line(f"main.{i}", "edit", "train", {}) for i in range(3)],
                   spec="memories: {skills: {files: {a.md: 'one\n\n  two'}}}\n")
    versions = {"000001": ("000000", {"a.md": "one\n2", "b.md": "new"}), "000002": ("000001", {"b.md": "new"}), "000003": ("000001", {})}
    manifest = [json.loads(text) for text in (root / "manifest.jsonl").read_text().splitlines()]
    for entry, (name, (parent, files)) in zip(manifest[1:4], versions.items(), strict=True):
        entry["versions"] = [{"name": "skills", "id": name, "parents": [parent], "kind": "text", "made_by": f"{entry['path']}/edit"}]
        entry["promotions"] = {"skills": {"current": name}} if name != "000003" else {}
        folder = root / "memories/skills" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    (root / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in manifest))
    (grown,) = evolution.memories(read_run(root))
    assert grown.branches and [s.depth for s in grown.steps] == [1, 2, 2]
    assert [(s.added, s.changed, s.removed, s.files) for s in grown.steps] == [(1, 1, 0, 2), (0, 0, 1, 1), (0, 0, 2, 0)]
    assert grown.steps[0].diff == [("@", "a.md"), (" ", "one"), ("-", "two"), ("+", "2"), ("@", "b.md"), ("+", "new")]
    assert [s.aliases for s in grown.steps] == [["current"], ["current"], []]
    page = make.Page(report.write(root).read_text())
    assert next(texts[:3] for texts, _ in page.rows("lineage-1")) == ["000001", "000000", "main.0/edit"] and "+ new" in page.text


def test_a_version_whose_files_are_gone_says_so(run_dir, make):
    root = run_dir([make.line("main.0", "edit", "train", {})])
    manifest = (root / "manifest.jsonl").read_text().replace(
        '"versions": []', '"versions": [{"name": "m", "id": "000001", "parents": ["000000"], "kind": "text", "made_by": "main.0/edit"}]')
    (root / "manifest.jsonl").write_text(manifest)
    ((step,),) = [g.steps for g in evolution.memories(read_run(root))]
    assert step.trouble == "its files are not on disk"


def test_a_pools_changes_are_the_difference_of_its_states(run_dir, make):
    root = run_dir([make.line(f"main.{i}", "score", "score", {}) for i in range(2)])
    for i, ids in enumerate((["a", "b"], ["b", "c"])):
        folder = root / f"state/main.{i}/score"
        folder.mkdir(parents=True)
        (folder / "curriculum.json").write_text(json.dumps({"tasks": [{"id": x, "vars": {"question": f"{x}?"}} for x in ids]}))
        (folder / "other.json").write_text(json.dumps({"tasks": 3}))
    first, second = evolution.pools(read_run(root))
    assert (first.admitted, first.retired, first.held) == (["a?", "b?"], [], 2)
    assert (second.path, second.admitted, second.retired, second.more) == ("main.1/score", ["c?"], ["a?"], 0)
