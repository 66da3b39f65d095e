"""Every command that README and docs show is run, and does what the page says."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from conftest import PAGES, ROOT, blocks_of  # placeholder
