"""The run spec: composed from YAML and overrides, checked whole, built node by node. Importing this package imports no torch."""

from ..packaged import configs
from .check import build, check, dump, load, load_text
from .compose import compose, preflight, read
from .refs import EngineName, MemoryRef, PolicyRef, PromptName, RoleName, SourceName, StageName, TableName
from .runspec import Checkpoint, Node, RunSpec

__all__ = [
    "Checkpoint", "EngineName", "MemoryRef", "Node", "PolicyRef", "PromptName", "RoleName", "RunSpec", "SourceName", "StageName",
    "TableName", "build", "check", "compose", "configs", "dump", "load", "load_text", "preflight", "read",
]
