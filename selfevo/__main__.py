"""`python -m selfevo` is the `selfevo` command."""

import sys

from .cli import main

sys.exit(main())
