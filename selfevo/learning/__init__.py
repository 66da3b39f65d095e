"""What the learner is made of. These modules import torch, but for `needs` and `sharing`, which the check of a spec reads too."""
