"""Engines: generate and score tokens for a policy. Constructing one imports no torch."""

from .native import Native
from .openai import OpenAI
from .scripted import Scripted
from .vllm import Vllm

__all__ = ["Native", "OpenAI", "Scripted", "Vllm"]
