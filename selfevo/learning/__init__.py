"""What the learner is made of. These modules import torch; nothing outside `learner.py` imports them."""
