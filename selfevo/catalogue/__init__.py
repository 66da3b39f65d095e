"""What there is to run: experiments, the choices of every group, papers, recorded results, read from the YAML files alone.

Composing here follows the defaults lists as Hydra does, without importing it, so that `selfevo list` and `selfevo show` answer at once;
a test holds every experiment equal to what Hydra composes. Runs are always composed by Hydra (`selfevo.spec`).
"""
