"""One torch thread per test process: other programs share the cores."""

import torch

torch.set_num_threads(1)
