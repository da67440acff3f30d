import contextlib

import pytest
import torch
from torch import nn

from pruning_lib.modes import evaluating, undone_on_error


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


@pytest.mark.parametrize("fails", [False, True])
def test_only_an_error_undoes_what_was_done(fails):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    model[0].train()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    with contextlib.suppress(KeyboardInterrupt), undone_on_error(model) as settle:
        for _ in range(2):
            model.train()
            model(torch.rand(4, 2)).sum().backward()
            settle()
            assert [module.training for module in model.modules()] == modes and model[0].weight.grad is None
        model.train()
        model[0].weight.data += 1
        model(torch.rand(4, 2)).sum().backward()
        if fails:
            raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == modes and model[0].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    same = [torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()]
    assert same == [fails, True, True, True, fails, fails, fails]


def test_an_error_also_undoes_buffers_that_no_state_dict_holds():
    class Average(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.ones(2), persistent=False)
            self.register_buffer("replaced", torch.ones(2), persistent=False)
            self.register_buffer("none_yet", None)

    model = Average()
    replaced = model.replaced
    with contextlib.suppress(RuntimeError), undone_on_error(model):
        model.kept.mul_(3)
        model.replaced = torch.zeros(5)
        model.none_yet = torch.zeros(2)
        raise RuntimeError
    assert model.kept.tolist() == [1, 1] and model.none_yet is None
    assert model.replaced is replaced and replaced.tolist() == [1, 1]
