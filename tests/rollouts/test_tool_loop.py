"""A reply with tool calls: pauses, answers, masks, limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from selfevo import spec
from selfevo.codec import ByteCodec
from selfevo.errors import UserError
from selfevo.protocols import Completion
from selfevo.records import Row
from selfevo.rollouts import ToolLoop
from selfevo.samples import PolicyTurns
from selfevo.tools import Answer, Calculator
from selfevo.verifiers import FromEnvironment

CODEC = ByteCodec(limit=400)
PLAIN = {"call": r"(?:^|\n)([^\n]*)=", "stop": "=", "answer": "{output}\n"}


@dataclass
class Paused:
    """Says the pieces in turn; one that ends in a stop string draws no end token."""

    pieces: list[str]
    asked: list[tuple] = field(default_factory=list)

    async def __call__(self, context, sampling, key) -> Completion:
        text = self.pieces[len(self.asked)]
        self.asked.append((context, sampling, key))
        paused = any(text.endswith(s) for s in sampling.stop)
        tokens = CODEC.fragment(text) + (() if paused else (CODEC.END,))
        return Completion(tokens, (-0.5,) * len(tokens), text, "stop")


def test_an_answer_is_written_into_the_reply_and_masked(bench, task, ctx, run):
    voice = Paused(["27+5=", "32-13=", "#### 19"])
    [t] = run(ToolLoop(Calculator(), **PLAIN).run(task, {"solver": bench(voice=voice)}, None, ctx))
    assert [(turn.source, turn.text) for turn in t.turns] == [
        ("policy", "27+5="), ("tool", "32\n"), ("policy", "32-13="), ("tool", "19\n"), ("policy", "#### 19"),
    ]  # fmt: skip
    assert t.status == "finished" and t.text == "#### 19"
    opening = voice.asked[0][0]
    assert voice.asked[2][0] == opening + CODEC.fragment("27+5=32\n32-13=19\n")
    assert len({key for _, _, key in voice.asked}) == 3
    [sample] = PolicyTurns(reward=None).build([Row.of(t)], _Log())
    spoken = "".join(chr(1 if m else 0) * 1 for m in map(int, sample.columns["mask"]))
    assert [len(x) for x in spoken.split(chr(0)) if x] == [len("27+5="), len("32-13="), len("#### 19") + 1]
    assert [p for p, m in zip(sample.columns["logp:sampler"], sample.columns["mask"], strict=True) if not m] == [0.0] * 6


class _Log:
    def log(self, name, value):
        pass


def test_calls_are_counted_as_an_environments_rewards_are(bench, task, ctx, run):
    voice = Paused(["1+1=", "oops=", "no"])
    [t] = run(ToolLoop(Calculator(), **PLAIN).run(task, {"solver": bench(voice=voice)}, None, ctx))
    assert (t.keys["env:calls"], t.keys["env:failed"]) == ("2.0", "1.0")
    assert t.turns[3].text == "?\n"
    ctx.name = "calls"
    assert FromEnvironment(reward="calls")([Row.of(t)], ctx)[0].reward("calls") == 2.0


def test_after_the_last_call_nothing_pauses_the_reply(bench, task, ctx, run):
    voice = Paused(["1+1=", "2+2=4 and so #### 4"])
    [t] = run(ToolLoop(Calculator(), max_calls=1, **PLAIN).run(task, {"solver": bench(voice=voice)}, None, ctx))
    assert [s.stop for _, s, _ in voice.asked] == [("=",), ()]
    assert t.text.endswith("#### 4")


def test_a_reply_without_a_call_is_a_single_reply(bench, task, ctx, run):
    [t] = run(ToolLoop(Calculator(), **PLAIN).run(task, {"solver": bench(voice=Paused(["#### 4"]))}, None, ctx))
    assert [turn.source for turn in t.turns] == ["policy"] and t.keys["env:calls"] == "0.0"


def test_a_pause_that_is_no_call_goes_on(bench, task, ctx, run):
    loop = ToolLoop(Calculator(), call="<calc>(.*?)</calc>", stop=">", answer="{output}")
    voice = Paused(["<calc>", "2*3</calc>", " #### 6"])
    [t] = run(loop.run(task, {"solver": bench(voice=voice)}, None, ctx))
    assert [turn.text for turn in t.turns] == ["<calc>", "2*3</calc>", "6", " #### 6"]


def test_a_tool_that_raises_ends_its_episode_only(bench, task, ctx, run):
    def broken(call: str, seed: int) -> Answer:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):  # `run_episodes` makes a trajectory of status "error" of it
        run(ToolLoop(broken, **PLAIN).run(task, {"solver": bench(voice=Paused(["1="]))}, None, ctx))


@pytest.mark.parametrize("change, message", [
    ({"max_calls": 0}, "at least 1"), ({"stop": ""}, "some text"), ({"answer": "x"}, "{output}"), ({"call": "x"}, "needs a group"),
    ({"call": "("}, "not a regular expression"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        ToolLoop(Calculator(), **{**PLAIN, **change})


def test_the_configs_bind():
    for name in ("calculator", "python"):
        spec.read([f"rollout={name}"])


@pytest.mark.slow
def test_the_bundled_policy_works_its_sums_out_with_a_calculator(tmp_path):
    from real_runs import run_in

    common = ["scale.tasks=48", "scale.group=1", "stages.train=null", "stages.evaluate=null", "loop.start=null"]
    more = ["loop.main.do=[rollout,score]", "loop.main.repeat=1", "loop.main.ahead=null"]
    right = {}
    for name in ("single", "calculator"):
        done = run_in(tmp_path / name, [*common, f"rollout={name}", *more])
        right[name] = done.metric("score", "score/exact")[0]
    assert right["calculator"] > right["single"] + 0.2
