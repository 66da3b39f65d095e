"""What of the launcher `ray` needs no Ray: settings, blocks of requests, weights on their way, what a part may ask elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT
from hypothesis import given
from hypothesis import strategies as st

from selfevo.context import StageCtx
from selfevo.engines.replicas import _of_the_whole, blocks, moving, packed, unpack
from selfevo.errors import EngineError, UserError
from selfevo.judges import NeedsTheRun, far_from
from selfevo.launchers import Job, Ray
from selfevo.launchers.ray_desk import Stream
from selfevo.launchers.ray_screen import Screen
from selfevo.models import Lora, Pretrained
from selfevo.protocols import GenerateRequest, Varying
from selfevo.spec import dump, read
from selfevo.world import World


def request(context: int) -> GenerateRequest:
    return GenerateRequest((context,), seed=0)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 9))
def test_blocks_are_all_requests_in_order_and_of_about_equal_size(contexts: list[int], count: int) -> None:
    requests = [request(c) for c in contexts]
    found = blocks(requests, count)
    assert [r for block in found for r in block] == requests
    assert len(found) <= count and all(found)
    assert all(len(block) <= 2 * len(requests) / count + 1 for block in found)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 8))
def test_a_group_of_equal_contexts_is_not_split_where_groups_are_smaller_than_blocks(group: int, groups: int, count: int) -> None:
    requests = [request(c) for c in range(groups * count) for _ in range(group)]
    for block in blocks(requests, count):
        assert len(block) % group == 0


def test_one_group_is_shared_by_all() -> None:
    assert [len(b) for b in blocks([request(1)] * 64, 4)] == [16] * 4


def test_an_error_about_a_request_names_its_place_among_all() -> None:
    assert str(_of_the_whole(EngineError("request 3: prompt longer than the context"), 40)).startswith("request 43: prompt")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_packed_weights_arrive_bit_for_bit(dtype: str) -> None:
    import torch

    one, other = (Pretrained("tiny", dtype=dtype).load("solver").model for _ in range(2))  # type: ignore[arg-type]
    with torch.no_grad():
        for i, (_, tensor) in enumerate(moving(one)):
            tensor.add_(0.01 * (i + 1))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    unpack(packed(one), other)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, one.state_dict()[name])
        assert not torch.equal(tensor, before[name])


def test_of_an_adapted_policy_only_the_adapter_travels() -> None:
    import torch

    one, other = (Pretrained("tiny", lora=Lora(rank=2)).load("solver").model for _ in range(2))
    with torch.no_grad():
        for _, tensor in moving(one):
            tensor.normal_(generator=torch.Generator().manual_seed(3))
    sent = packed(one)
    assert sent and all("lora_" in name for name in sent)
    unpack(sent, other)
    ids = torch.arange(5, 25)[None]
    assert torch.equal(one(ids).logits, other(ids).logits)


def test_weights_of_another_policy_are_refused() -> None:
    plain, adapted = Pretrained("tiny").load("solver").model, Pretrained("tiny", lora=Lora(rank=2)).load("solver").model
    with pytest.raises(EngineError, match="does not have the weights of the run's"):
        unpack(packed(adapted), plain)


def test_elsewhere_seeds_and_numbers_are_those_of_the_run_and_the_rest_is_asked_there(tmp_path: Path) -> None:
    world = World(seed=7, iterations=11, roles={}, prompts={}, root=tmp_path)
    world.history = {"a/b": [0.5, 0.25]}
    here = StageCtx(world, "main.3", "score", 3, {"each": 4}, name="part")
    far = far_from(here)
    assert far.seed("x", 1) == here.seed("x", 1)
    for number in (0.3, Varying("linear", (0.0, 1.0)), Varying("metric", metric="a/b", name="n"), Varying("each", name="each")):
        assert far.value(number) == here.value(number)
    assert far.metrics == here.metrics
    for ask in (lambda: far.log("score/x", 1.0), lambda: far.rows("rollout"), lambda: far.read("skills"), lambda: far.policy("solver"),
                lambda: far.history("a/b")):  # fmt: skip
        with pytest.raises(NeedsTheRun):
            ask()


def test_the_screen_shows_what_comes_in_any_order_in_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(read(BARE), Job("", tmp_path, False, lambda ranks: None))
    screen.show([(1, "print", ("b\n",)), (2, "print", ("c\n",))])
    assert capsys.readouterr().out == ""
    screen.show([(0, "print", ("a\n",))])
    assert capsys.readouterr().out == "a\nb\nc\n"
    assert screen.heard == 3


def test_what_is_printed_leaves_in_whole_lines() -> None:
    told: list[tuple[str, str]] = []
    stream = Stream(lambda *message: told.append(message))
    for text in ("one", "\ntw", "o\nthree\nfo", "ur"):
        stream.write(text)
    assert told == [("print", "one\n"), ("print", "two\nthree\n")]
    stream.close()
    assert told[-1] == ("print", "four")


@pytest.mark.parametrize("settings, words", [
    ({"ranks": 0}, "launcher.ranks must be at least 1"),
    ({"engines": -1}, "launcher.engines must be at least 0"),
    ({"rank_cpus": 0}, "launcher.rank_cpus must be more than 0"),
    ({"engine_gpus": -1}, "launcher.engine_gpus must be 0 or more"),
    ({"wait": 0}, "launcher.wait must be more than 0"),
    ({"strategy": "strict"}, "launcher.strategy 'strict' is not known; did you mean 'strict_"),
    ({"address": "here"}, "launcher.address: 'here' is neither auto nor host:port"),
    ({"address": "ray://head:10001"}, "is a Ray client's"),
    ({"rank_resources": {"GPU": 1}}, "launcher.rank_resources.GPU: expected a custom resource"),
    ({"engine_resources": {"fast": 0}}, "launcher.engine_resources.fast"),
    ({"zero": 4}, "launcher.zero is 4"),
    ({"offload": "all", "zero": 2}, "which only zero: 3 shares"),
])  # fmt: skip
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match="launcher") as refused:
        Ray(**settings)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_replicas_of_an_engine_without_weights_are_refused(tmp_path: Path) -> None:
    job = Job(dump(read(BARE)), tmp_path, False, lambda ranks: None)
    with pytest.raises(UserError, match=r"launcher.engines is 1, but no engine of this spec serves weights"):
        Ray(engines=1).launch(job)


def test_without_ray_the_launcher_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    job = Job(dump(read(BARE)), tmp_path, False, lambda ranks: None)
    with pytest.raises(UserError, match=r"Ray is not installed .*: pip install 'selfevo\[ray\]'"):
        Ray().launch(job)


def test_checking_a_spec_imports_neither_ray_nor_torch() -> None:
    code = (
        "import sys; from selfevo.cli import main;"
        "assert main(['validate', 'experiment=quickstart', 'launcher=ray', 'launcher.engines=2', 'launcher.verifiers=2']) == 0;"
        "print(sorted({'ray', 'torch'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert said.stdout.splitlines()[-1] == "[]", said.stderr
