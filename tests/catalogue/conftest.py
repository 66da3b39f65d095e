"""Every config tree and composition is read once."""

from __future__ import annotations

import pytest

from selfevo.catalogue.files import Tree


@pytest.fixture(scope="session")
def tree() -> Tree:
    return Tree()
