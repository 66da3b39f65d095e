"""A reply in steps: turns that end at the stop string, in one growing context."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from real_runs import run_in

from selfevo.errors import UserError
from selfevo.protocols import Completion
from selfevo.rollouts import Stepwise


@dataclass
class Lines:
    """Says these pieces one after the other; one that does not end with a line break is closed by the end token."""

    codec: object
    pieces: list[str]
    asked: list = field(default_factory=list)

    async def __call__(self, context, sampling, key):
        text = self.pieces[len(self.asked)]
        self.asked.append((context, sampling, key))
        cut = text.endswith("...")
        ids = self.codec.fragment(text) + (() if cut or text.endswith("\n") else (self.codec.END,))
        return Completion(ids, (-0.5,) * len(ids), text, "length" if cut else "stop")


def steps_of(bench, codec, pieces, run, task, ctx, **settings):
    voice = Lines(codec, pieces)
    [t] = run(Stepwise(**settings).run(task, {"solver": bench(voice=voice)}, None, ctx))
    return t, voice


def test_every_line_is_a_turn_under_the_lines_before_it(bench, codec, run, task, ctx):
    t, voice = steps_of(bench, codec, ["2+2=4\n", "4+1=5\n", "#### 5"], run, task, ctx)
    assert [turn.text for turn in t.turns] == ["2+2=4\n", "4+1=5\n", "#### 5"]
    assert {turn.source for turn in t.turns} == {"policy"} and (t.status, t.text) == ("finished", "2+2=4\n4+1=5\n#### 5")
    opening = voice.asked[0][0]
    for i, turn in enumerate(t.turns):
        assert turn.context == opening + tuple(x for before in t.turns[:i] for x in before.tokens) == voice.asked[i][0]
    assert len({key for _, _, key in voice.asked}) == 3  # every step draws on its own
    assert all(sampling.stop == ("\n",) for _, sampling, _ in voice.asked)
    assert [(s.start, s.end) for s in t.spans()] == [(0, 6), (6, 12), (12, 19)]  # steps are turns without more ado
    assert t.cost.generated_tokens == t.length == 19


def test_it_ends_with_the_policy_or_is_truncated(bench, codec, run, task, ctx):
    assert steps_of(bench, codec, ["done"], run, task, ctx)[0].status == "finished"
    cut, _ = steps_of(bench, codec, ["a\n", "b..."], run, task, ctx)
    assert (cut.status, len(cut.turns)) == ("truncated", 2)  # a step that hit the limit of its length
    long, _ = steps_of(bench, codec, ["a\n", "b\n", "c\n"], run, task, ctx, max_steps=2)
    assert (long.status, len(long.turns)) == ("truncated", 2)
    full, voice = steps_of(bench, codec, [("x" * 395)[: codec.limit] + "\n"], run, task, ctx)
    assert (full.status, len(voice.asked)) == ("truncated", 1)  # the context is full


def test_bad_settings_are_one_line():
    for settings in ({"stop": ""}, {"max_steps": 0}):
        with pytest.raises(UserError, match="Stepwise"):
            Stepwise(**settings)


@pytest.mark.slow
def test_greedy_steps_joined_are_the_reply_in_one_piece(tmp_path):
    sizes = ["scale=tiny", "scale.iterations=1", "scale.group=1", "roles.solver.temperature=0", "loop.start=null", "stages.evaluate=null",
             "stages.train=null", "loop.main.do=[rollout,score]", "loop.main.ahead=null"]  # fmt: skip
    whole, steps = (run_in(tmp_path / r, [f"rollout={r}", *sizes]).rows("main.0", "score") for r in ("single", "stepwise"))
    joined = [[i for turn in row.trajectory.turns for i in turn.tokens] for row in steps]
    assert joined == [list(row.trajectory.turns[0].tokens) for row in whole]
    assert [row.score.rewards for row in steps] == [row.score.rewards for row in whole]
    assert max(len(row.trajectory.turns) for row in steps) > 2
