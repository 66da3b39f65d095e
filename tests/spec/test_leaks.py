"""What evaluations hold out reaches nothing that learns."""

import pytest

from selfevo import spec
from selfevo.errors import SpecErrors

LINE = r"learns from rows of 'evaluate'; 'evaluate' is an evaluation, and its tasks are held out"


@pytest.mark.parametrize(
    "overrides, where",
    [
        (["stages.train.from=evaluate"], "stages.train"),
        (["stages.train.from=[score,evaluate@-1]"], "stages.train"),
        (["stages.train.using=[evaluate]"], "stages.train"),
        (["stages.score.of=evaluate"], "stages.score"),
        (["stages.rollout.tasks={follow: evaluate}", "stages.score.update=[]"], "stages.train"),
        (["stages.rollout.tasks={compare: evaluate}", "stages.score.update=[]"], "stages.train"),
        (["stages.rollout.tasks={again: evaluate}", "stages.score.update=[]"], "stages.train"),
    ],
)
def test_rows_of_an_evaluation_are_refused_however_they_come(overrides, where):
    with pytest.raises(SpecErrors, match=rf"^{where}: {LINE}"):
        spec.read(overrides)


def test_judging_them_further_is_no_learning():
    spec.read(["+stages.look={kind: score, of: evaluate, verifier: '${verifier}'}", "loop.main.do=[rollout,score,train,evaluate,look]"])


def test_a_sealed_suite_without_its_answers_may_be_adapted_to():
    spec.read(["stages.rollout.tasks={suite: evaluate}"])
