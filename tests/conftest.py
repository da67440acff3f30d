"""One thread for all tests: the same machine then gives the same bits."""

import torch

torch.set_num_threads(1)
