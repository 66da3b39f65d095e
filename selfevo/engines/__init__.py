"""Engines: generate and score tokens for a policy. Constructing one imports no torch."""

from .native import Native
from .openai import OpenAI
from .scripted import Scripted

__all__ = ["Native", "OpenAI", "Scripted"]
