import pytest
import torch
from torch import nn

from pruning_lib.modes import evaluating


def test_evaluating_puts_each_modules_mode_back_even_after_an_error():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Dropout(), nn.Linear(3, 1))).train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="stop"), evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2)).requires_grad
        raise RuntimeError("stop")
    assert [module.training for module in model.modules()] == modes
    assert model(torch.ones(1, 2)).requires_grad
