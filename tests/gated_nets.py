"""Networks and images for the tests of gates."""

import torch
from torch import nn


class Grouped(nn.Module):
    """A bottleneck with 4 groups, as in ResNeXt, written with functions and ended by an in-place addition."""

    def __init__(self):
        super().__init__()
        self.reduce, self.norm1 = nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.grouped, self.norm2 = nn.Conv2d(12, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16)
        self.expand = nn.Conv2d(16, 8, 1)

    def forward(self, r):
        branch = torch.relu(self.norm1(self.reduce(r)))
        branch = self.norm2(self.grouped(branch)).relu()
        branch = self.expand(branch)
        branch += r
        return nn.functional.relu(branch)


def grouped_net(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), Grouped(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return with_statistics(net)


def with_statistics(net, seed=0):
    """Norms as after training: scale, shift, mean and variance that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(generator=generator)
    return net.eval()


def images(seed=0, size=8):
    return torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(seed))
