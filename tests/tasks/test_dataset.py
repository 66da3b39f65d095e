"""Dataset: formats, reference answers, draws, and one-line refusals."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfevo.errors import UserError
from selfevo.tasks.dataset import Dataset, after_hashes, last_boxed

GSM8K = [
    {"question": "Natalia sold 48 clips in April and half as many in May. How many?", "answer": "48/2 = 24\n48+24 = 72\n#### 72"},
    {"question": "A farm has 1,000 hens and buys 80 more. How many hens?", "answer": "1000+80 = 1080\n#### 1,080"},
    {"question": "It was 3 degrees and fell by 5. What is it now?", "answer": "3-5 = -2\n#### -2"},
]
MATH = [
    {"problem": "Solve x^2 = 2, x > 0.", "solution": r"So $x=\boxed{\sqrt{2}}$.", "type": "Algebra", "level": "Level 1"},
    {"problem": "Half of one?", "solution": r"First \boxed{1}, then $\boxed{\frac{1}{2}}$.", "type": "Prealgebra", "level": "Level 5"},
    {"problem": "A set?", "solution": r"$\boxed{\{1, 2\}}$", "type": "Algebra", "level": "Level ?"},
]
MATH_FIELDS = {"question": "problem", "answer": "solution", "category": "type", "difficulty": "level"}


def jsonl(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def message(action) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_gsm8k_references_are_what_follows_the_hashes_without_thousands_separators(tmp_path):
    data = Dataset(jsonl(tmp_path / "gsm8k.jsonl", GSM8K), answer="gsm8k", name="gsm8k")
    assert [task.answer for task in data] == ["72", "1080", "-2"]
    assert data[0].vars == {"question": GSM8K[0]["question"]}
    assert data.categories == ("gsm8k",) and data.levels == () and data[0].lineage.origin == "gsm8k"


def test_math_references_are_the_last_balanced_box_and_levels_are_numbers(tmp_path):
    data = Dataset(jsonl(tmp_path / "math.jsonl", MATH), fields=MATH_FIELDS, answer="boxed")
    assert [task.answer for task in data] == [r"\sqrt{2}", r"\frac{1}{2}", r"\{1, 2\}"]
    assert [task.difficulty for task in data] == [1.0, 5.0, None]
    assert data.categories == ("Algebra", "Prealgebra") and data.levels == (1.0, 5.0)
    assert data.cells == (("Algebra", None), ("Algebra", 1.0), ("Prealgebra", 5.0))


def test_an_unclosed_box_and_missing_hashes_have_no_answer():
    assert last_boxed(r"so \boxed{1 + {2}") is None and last_boxed("42") is None and last_boxed(r"is \boxed 2.") == "2."
    assert after_hashes("the answer is 42") is None


def test_parquet_gives_the_same_tasks_as_jsonl_and_reads_only_the_named_fields(tmp_path):
    pq.write_table(pa.Table.from_pylist([{**row, "unused": object.__name__} for row in MATH]), tmp_path / "math.parquet")
    one = Dataset(jsonl(tmp_path / "math.jsonl", MATH), fields=MATH_FIELDS, answer="boxed", name="math")
    other = Dataset(str(tmp_path / "math.parquet"), fields=MATH_FIELDS, answer="boxed", name="math")
    assert list(one) == list(other)
    assert set(other._columns) == set(MATH_FIELDS.values())


def test_a_directory_is_read_by_split(tmp_path):
    jsonl(tmp_path / "train.jsonl", GSM8K)
    jsonl(tmp_path / "test.jsonl", GSM8K[:1])
    assert [len(Dataset(str(tmp_path), split=s, answer="gsm8k")) for s in ("train", "test")] == [3, 1]
    assert "neither dev.jsonl, dev.parquet" in message(lambda: len(Dataset(str(tmp_path), split="dev")))


def test_a_directory_saved_by_datasets_gives_the_same_tasks(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_list(GSM8K)})
    saved.save_to_disk(str(tmp_path / "saved"))
    data = Dataset(str(tmp_path / "saved"), answer="gsm8k", name="gsm8k")
    assert list(data) == list(Dataset(jsonl(tmp_path / "gsm8k.jsonl", GSM8K), answer="gsm8k", name="gsm8k"))
    assert "did you mean 'train'?" in message(lambda: len(Dataset(str(tmp_path / "saved"), split="trian")))


def test_draws_are_uniform_over_what_matches(tmp_path):
    rows = [{"question": f"q{i}", "answer": "0", "kind": "ab"[i % 2], "level": i % 3} for i in range(12)]
    fields = {"question": "question", "answer": "answer", "category": "kind", "difficulty": "level"}
    data, rng = Dataset(jsonl(tmp_path / "d.jsonl", rows), fields=fields), random.Random(0)
    counts = Counter(data.draw(rng).id for _ in range(2400))
    assert len(counts) == 12 and all(140 < n < 260 for n in counts.values())  # 200 each, 4.4 standard deviations
    assert {data.draw(rng, "a", 2.0).vars["question"] for _ in range(50)} == {"q2", "q8"}
    assert {data.draw(rng, None, 1.0).vars["question"] for _ in range(99)} == {"q1", "q4", "q7", "q10"}
    assert "no task of category a at difficulty 7" in message(lambda: data.draw(rng, "a", 7.0))


def test_limit_keeps_the_first_rows_at_the_chosen_levels(tmp_path):
    rows = [{"q": f"q{i}", "level": f"Level {i % 3}"} for i in range(9)]
    data = Dataset(jsonl(tmp_path / "d.jsonl", rows), fields={"q": "q", "difficulty": "level"}, levels=(1.0, 2.0), limit=3)
    assert [task.vars["q"] for task in data] == ["q1", "q2", "q4"] and data[0].answer is None
    assert data.draw(random.Random(1), None, 2.0).vars["q"] == "q2"


def test_ids_depend_on_content_and_not_on_the_file(tmp_path):
    one = Dataset(jsonl(tmp_path / "a.jsonl", GSM8K), answer="gsm8k", name="g")
    other = Dataset(jsonl(tmp_path / "b.jsonl", GSM8K[::-1]), answer="gsm8k", name="g")
    assert [t.id for t in one] == [t.id for t in other][::-1]


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    data = Dataset(str(tmp_path / "later.jsonl"), answer="gsm8k")
    jsonl(tmp_path / "later.jsonl", GSM8K)
    assert len(data) == 3


def test_a_missing_file_names_the_nearest(tmp_path):
    jsonl(tmp_path / "gsm8k.jsonl", GSM8K)
    assert "gsm8.jsonl' does not exist; did you mean 'gsm8k.jsonl'?" in message(lambda: len(Dataset(str(tmp_path / "gsm8.jsonl"))))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_missing_field_names_the_nearest(tmp_path, suffix):
    path = tmp_path / f"d.{suffix}"
    if suffix == "jsonl":
        jsonl(path, MATH)
    else:
        pq.write_table(pa.Table.from_pylist(MATH), path)
    data = Dataset(str(path), fields={"question": "probelm"})
    assert "no field 'probelm'; did you mean 'problem'? (valid: level, problem, solution, type)" in message(lambda: len(data))


def test_a_bad_line_is_named_by_file_and_number(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"question": "a", "answer": "b"}\n\n{"question": "a", \n')
    assert f"{path}:3: not a JSON object" in message(lambda: len(Dataset(str(path))))
    path.write_bytes(b'{"question": "a", "answer": "b"}\n["a", "b"]\n')
    assert f"{path}:2: expected a JSON object, found list" in message(lambda: len(Dataset(str(path))))
    path.write_bytes(b'{"question": "\xff", "answer": "b"}\n')
    assert f"{path}:1: not a JSON object" in message(lambda: len(Dataset(str(path))))


def test_bad_content_is_refused(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert "is empty" in message(lambda: len(Dataset(str(empty))))
    (tmp_path / "fake.parquet").write_text("no")
    assert "not a Parquet file" in message(lambda: len(Dataset(str(tmp_path / "fake.parquet"))))
    (tmp_path / "d.csv").write_text("a,b")
    assert "unknown format; expected one of .jsonl" in message(lambda: len(Dataset(str(tmp_path / "d.csv"))))
    plain = Dataset(jsonl(tmp_path / "p.jsonl", [{"question": "q", "answer": "the answer is 3"}]), answer="gsm8k")
    assert "row 0 has no answer in format 'gsm8k': 'the answer is 3'" in message(lambda: plain[0])
    data = Dataset(jsonl(tmp_path / "m.jsonl", MATH), fields=MATH_FIELDS, levels=(9.0,))
    assert "no task at difficulties 9" in message(lambda: len(data))


def test_bad_settings_are_refused_at_once():
    assert "expected one of raw, gsm8k, boxed" in message(lambda: Dataset("x.jsonl", answer="gsm"))  # type: ignore[arg-type]
    assert "limit is 0" in message(lambda: Dataset("x.jsonl", limit=0))
    assert "name no prompt variable" in message(lambda: Dataset("x.jsonl", fields={"answer": "answer"}))


def test_a_hub_dataset_that_cannot_be_reached_is_one_line(monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = message(lambda: len(Dataset("selfevo-tests/no-such-dataset")))
    assert "dataset 'selfevo-tests/no-such-dataset' (split train) is not a local file and cannot be loaded" in text
