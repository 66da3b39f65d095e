"""The cache of answers: what is kept comes back as it was, what decides the answer tells requests apart, damage is never trusted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from selfevo.engines.endpoint.answers import Answers
from selfevo.engines.endpoint.ask import Answer, Ask
from selfevo.errors import EngineError

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "1+1=? ⟨ß⟩\x00"}], "temperature": 1.0, "stop": ["\n"], "seed": 7}
ASK = Ask(0, "http://host/v1", BODY, 7)
ANSWER = Answer("2 \u2028\n#### 2", "stop", "\n", 10, None)


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    kept = Answers(tmp_path / "deep" / "answers")
    kept.prepare()
    return kept


def file_of(answers: Answers) -> Path:
    """The only file there is."""
    (file,) = answers.root.rglob("*.json")
    return file


def test_an_answer_comes_back_as_it_was_whatever_its_place_in_the_call(answers: Answers) -> None:
    assert answers.get(ASK) is None
    answers.put(ASK, ANSWER)
    assert answers.get(replace(ASK, index=5)) == ANSWER
    assert Answers(answers.root).get(ASK) == ANSWER


@pytest.mark.parametrize("other", [
    replace(ASK, seed=7 + (1 << 31)),  # sent as the same seed
    replace(ASK, url="http://host:81/v1"), replace(ASK, body={**BODY, "model": "other"}), replace(ASK, body={**BODY, "temperature": 0.5}),
    replace(ASK, body={**BODY, "messages": [{"role": "system", "content": BODY["messages"][0]["content"]}]}),  # type: ignore[index]
    replace(ASK, body={**BODY, "reasoning_effort": "low"}), replace(ASK, body={k: v for k, v in BODY.items() if k != "stop"}),
])  # fmt: skip
def test_whatever_decides_the_answer_tells_requests_apart(answers: Answers, other: Ask) -> None:
    answers.put(ASK, ANSWER)
    assert answers.get(other) is None


@pytest.mark.parametrize("harm", [
    lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\xff" + b, lambda b: b.replace(b"#### 2", b"#### 3"), lambda b: b"[]",
    lambda b: b.replace(b'"tiny"', b'"huge"'), lambda b: b.replace(b'"stop": "', b'"stap": "'),
], ids=["empty", "cut", "no text", "edited", "another shape", "another request", "another field"])  # fmt: skip
def test_a_damaged_file_is_not_trusted_and_is_replaced(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    told: list[str] = []
    answers = Answers(tmp_path, lambda: told.append("damaged"))
    answers.put(ASK, ANSWER)
    file = file_of(answers)
    whole = file.read_bytes()
    assert harm(whole) != whole
    file.write_bytes(harm(whole))
    assert answers.get(ASK) is None
    assert told == ["damaged"]
    answers.put(ASK, ANSWER)
    assert answers.get(ASK) == ANSWER
    assert file_of(answers).read_bytes() == whole


WRITER = """
import sys
from pathlib import Path
from selfevo.engines.endpoint.answers import Answers
from selfevo.engines.endpoint.ask import Answer, Ask
kept = Answers(Path(sys.argv[1]))
kept.prepare()
for i in range(300):
    kept.put(Ask(0, "http://host/v1", {"messages": [], "n": i % 5}, 0), Answer(sys.argv[2] * 5000, "stop", None, i, i))
"""


@pytest.mark.slow
def test_two_runs_that_write_the_same_answers_leave_whole_ones_to_every_reader(tmp_path: Path) -> None:
    """A reader that looks all the time sees no answer, or one that somebody wrote; never half of one."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), letter]) for letter in "ab"]
    harm: list[str] = []
    answers = Answers(tmp_path, lambda: harm.append("damaged"))
    found = set()
    while any(w.poll() is None for w in writers):
        for n in range(5):
            kept = answers.get(Ask(0, "http://host/v1", {"messages": [], "n": n}, 0))
            found |= set() if kept is None else {kept.text}
    assert [w.returncode for w in writers] == [0, 0]
    assert not harm
    assert found <= {"a" * 5000, "b" * 5000}
    assert all(answers.get(Ask(0, "http://host/v1", {"messages": [], "n": n}, 0)) is not None for n in range(5))
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cache: '.*/file/answers' cannot be used \(Not a directory\); name another folder") as caught:
        Answers(tmp_path / "file" / "answers").prepare()
    assert "\n" not in str(caught.value)


def test_others_cannot_read_what_was_asked(answers: Answers) -> None:
    answers.put(ASK, ANSWER)
    assert file_of(answers).stat().st_mode & 0o077 == 0
