"""Task mixture: shares, routing by category and level, refusals."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from selfevo.errors import UserError
from selfevo.tasks.dataset import Dataset
from selfevo.tasks.mixture import Mixture


@pytest.fixture
def sources(tmp_path):
    def made(name, levels):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"question": f"{name}{level}", "level": level}) + "\n" for level in levels))
        return Dataset(str(path), fields={"question": "question", "difficulty": "level"}, name=name)

    return {"easy": made("easy", [1, 2]), "hard": made("hard", [2, 3]), "off": made("off", [9])}


def test_shares_follow_the_weights(sources):
    mixture, rng = Mixture(sources, {"easy": 3, "hard": 1, "off": 0}), random.Random(0)
    counts = Counter(mixture.draw(rng).category for _ in range(4000))
    assert set(counts) == {"easy", "hard"} and abs(counts["easy"] / 4000 - 0.75) < 0.03  # 4.4 standard deviations


def test_only_sources_that_can_match_are_asked(sources):
    mixture, rng = Mixture(sources, {"off": 0}), random.Random(0)
    assert {mixture.draw(rng, None, 3.0).vars["question"] for _ in range(20)} == {"hard3"}
    assert {mixture.draw(rng, None, 2.0).vars["question"] for _ in range(40)} == {"easy2", "hard2"}
    with pytest.raises(UserError, match="no task of category easy at level 3"):
        mixture.draw(rng, "easy", 3.0)


def test_cells_are_the_pairs_that_exist_in_sources_that_are_on(sources):
    mixture = Mixture(sources, {"off": 0})
    assert set(mixture.cells) == {("easy", 1.0), ("easy", 2.0), ("hard", 2.0), ("hard", 3.0)}
    assert mixture.categories == ("easy", "hard") and mixture.levels == (1.0, 2.0, 3.0)


def test_a_mixture_of_one_draws_as_its_source(sources):
    alone = [sources["easy"].draw(random.Random(i)) for i in range(5)]
    assert sorted({t.id for t in alone}) == sorted({Mixture({"e": sources["easy"]}).draw(random.Random(i)).id for i in range(5)})


@pytest.mark.parametrize("weights, words", [({"esy": 1}, "did you mean 'easy'"), ({"easy": -1}, "none below 0"),
                                            ({"easy": 0, "hard": 0, "off": 0}, "at least one above")])  # fmt: skip
def test_bad_weights_are_refused(sources, weights, words):
    with pytest.raises(UserError, match=words):
        Mixture(sources, weights)
