"""The folder in which the commands of all pages are run, shared by the tests of one worker."""

from __future__ import annotations

import pytest
from pages import Desk, lay_out


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return lay_out(tmp_path_factory.mktemp("desk"))
