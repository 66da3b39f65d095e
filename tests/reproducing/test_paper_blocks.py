"""What experiments say of their papers is whole and well formed, and the ledger says it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from selfevo.errors import UserError
from selfevo.packaged import configs
from selfevo.reproducing.ledger import Entry, page
from selfevo.reproducing.paper import paper
from selfevo.reproducing.plan import methods
from selfevo.spec.reproduction import Baseline, Reproduction

GIVEN = {"title": "T", "arxiv": "1", "year": 2025, "evolves": "weights", "confidence": "code"}
PAPERS = {
    str(file.relative_to(configs())): block
    for file in sorted((configs() / "experiment").rglob("*.yaml"))
    if (block := (yaml.safe_load(file.read_text()) or {}).get("paper"))
}


@pytest.mark.parametrize("file", PAPERS)
def test_every_paper_block_says_what_evolves_and_where_its_facts_come_from(file: str) -> None:
    read = paper(PAPERS[file], file)
    assert read.title and read.evolves and 2017 <= read.year <= 2030
    assert read.confidence == "code" or read.unconfirmed, "facts that nobody confirmed are to be named"


def test_every_method_that_can_be_reproduced_has_the_papers_setting_beside_it() -> None:
    for identifier, experiment in methods().items():
        assert experiment == f"tiny/{identifier}"
        assert f"experiment/{identifier}.yaml" in PAPERS


@pytest.mark.parametrize("change, said", [
    ({"titel": "x"}, "unexpected keyword argument 'titel'"),
    ({"confidence": "cod"}, "did you mean 'code'"),
    ({"claims": [{"metrc": "x"}]}, "claims: got an unexpected keyword argument 'metrc'"),
])
def test_a_mistake_in_a_paper_block_is_one_line_that_names_the_file(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        paper({**GIVEN, **change}, "here.yaml")
    assert str(caught.value).startswith("here.yaml: paper: ") and said in str(caught.value) and "\n" not in str(caught.value)


def test_a_method_without_a_result_keeps_its_row() -> None:
    block = Reproduction("it helps", "eval/x/pass@1", Baseline("grpo", "tiny/x"), notes=["tried once"])
    text = page([Entry("x", paper(GIVEN, "x"), block, None, False)])
    assert "| [x](#x) | weights | grpo | | | not measured |" in text
    assert "selfevo reproduce x" in text and "tried once" in text and "it helps." in text


def test_the_ledger_is_linked_from_the_index() -> None:
    assert "(methods.md)" in (Path(__file__).parents[2] / "docs" / "index.md").read_text()
