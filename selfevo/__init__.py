"""selfevo: self-evolution experiments on language models, run from YAML. Importing this package imports no torch."""

__version__ = "0.1.0"
