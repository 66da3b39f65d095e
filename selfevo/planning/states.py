"""Training state per GPU: weights, gradients and AdamW's state under a stage of ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054).

Bytes per trained parameter, with W processes; "/W" is what they share:

    16-bit weights    zero 0     1            2            3
      weights         2          2            2            2/W
      gradients       2 + 4      2 + 4/W      (2 + 4)/W    4/W
      AdamW           4 + 8      (4 + 8)/W    (4 + 8)/W    (4 + 8)/W

    float32 weights   zero 0     1            2            3
      weights         4          4            4            4/W
      gradients       4          4            4/W          4/W
      AdamW           8          (4 + 8)/W    (4 + 8)/W    8/W

Gradients of 16-bit weights are summed in float32 (4); AdamW has two moments (8) and, for 16-bit weights or in DeepSpeed's stages 1 and
2, a float32 copy of the weights (4). In stage 3 the 16-bit gradients go as their float32 copy comes, and the largest module is gathered
whole on every GPU, with its gradient. These are DeepSpeed's own figures for 16-bit weights (`estimate_zero2_model_states_mem_needs`,
`estimate_zero3_model_states_mem_needs`), which know neither stages 0 and 1 nor float32.
"""

from __future__ import annotations

from dataclasses import dataclass

from .launch import Launch


@dataclass(frozen=True, slots=True)
class States:
    """Bytes of one GPU, and of one node's host memory. `gathered` is what stage 3 puts together while it passes through the model."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    host: float

    @property
    def resident(self) -> float:
        """What stays between updates."""
        return self.weights + self.optimizer

    @property
    def total(self) -> float:
        """All of it at once."""
        return self.weights + self.gradients + self.optimizer + self.gathered


def states(trained: int, launch: Launch, half: bool, largest: int, loaded: int | None = None) -> States:
    """Of `trained` parameters; `largest`: of the largest module. `half`: they are 16-bit numbers.

    Every process reads the whole model into host memory first, at `loaded` bytes per parameter (default: those of its dtype).
    """
    wide = 2 if half else 4
    sharing, zero, offload = launch.world, launch.zero, launch.offload
    both = wide + 4 if half else 4
    copy = 4 if half or zero in (1, 2) else 0
    per = {
        0: (wide, both, copy + 8.0),
        1: (wide, wide + 4 / sharing if half else 4, (copy + 8) / sharing),
        2: (wide, both / sharing, (copy + 8) / sharing),
        3: (wide / sharing, 4 / sharing, (copy + 8) / sharing),
    }[zero]
    weights, gradients, optimizer = (trained * x for x in per)
    gathered = 2.0 * wide * largest if zero == 3 else 0.0
    moved = 0.0
    if offload != "none":  # gradients follow the optimizer, in float32
        moved += trained * (4 + copy + 8) / launch.nodes
        gradients, optimizer = (0.0 if zero > 1 else gradients), 0.0
    if offload == "all":
        moved += trained * wide / launch.nodes
        weights = 0.0
    loading = trained * (wide if loaded is None else loaded) * launch.processes
    return States(weights, gradients, optimizer, gathered, max(loading, moved))
