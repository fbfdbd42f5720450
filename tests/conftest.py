"""One thread: the networks here are too small for two, and test processes may share the machine."""

import torch

torch.set_num_threads(1)
