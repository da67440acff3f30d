import pytest
import torch

from pruning_lib.structure import prunable
from pruning_lib.workbench import models


def count(model):
    return sum(weight.numel() for weight in prunable(model).values())


def test_published_sizes():
    """267k and 431k parameters (Lee et al. 2019, table 1); ResNet-20 has 0.27M (He et al. 2016)."""
    assert count(models.lenet_300_100()) == 266_200
    assert count(models.lenet5()) == 430_500
    assert sum(p.numel() for p in models.lenet_300_100().parameters()) == 266_610
    assert sum(p.numel() for p in models.lenet5().parameters()) == 431_080
    assert sum(p.numel() for p in models.resnet().parameters()) == pytest.approx(0.27e6, rel=0.02)


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (2, 9, 15), (3, 16, 40), (1, 28, 28)])
def test_any_input_size(name, shape):
    model = models.build(name, shape, classes=7).eval()
    assert model(torch.randn(3, *shape)).shape == (3, 7)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 3), (20, 9), (32, 15)])
def test_resnet_depth_and_width(depth, blocks):
    model = models.resnet((3, 8, 8), depth=depth, width=4)
    found = [module for module in model.modules() if isinstance(module, models.ResidualBlock)]
    assert len(found) == blocks
    # depth counts the layers with weights on the main path: all but the two shortcut convolutions.
    assert len(prunable(model)) - 2 == depth
    assert model.fc.in_features == 16


def test_seeds_are_explicit():
    first, second, other = (models.lenet5((1, 8, 8), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert (first.conv1.bias == 0).all()


def test_weights_do_not_depend_on_the_global_random_state():
    # Layers draw from it when they are made; the weights that count come from the seed.
    torch.manual_seed(3)
    first = models.resnet((1, 8, 8), depth=8, width=4).fc.weight
    torch.manual_seed(4)
    assert torch.equal(models.resnet((1, 8, 8), depth=8, width=4).fc.weight, first)


def test_initialization_scales_the_variance():
    model = models.lenet_300_100()
    assert model.fc1.weight.var().item() == pytest.approx(2 / (784 + 300), rel=0.03)
    conv = models.resnet(width=32).stage3[1].conv1
    assert conv.weight.var().item() == pytest.approx(2 / (128 * 9), rel=0.03)


def test_fan_in_scheme_is_a_cut_normal():
    for name in ("lenet_300_100", "lenet5"):
        model = models.initialize_(models.build(name, (1, 28, 28), 10), seed=3, scheme="fan_in")
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and module.weight.numel() > 5000:
                fan_in = module.weight[0].numel()
                assert module.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.03)
                assert module.weight.abs().max() <= 2 / models.CUT_NORMAL / fan_in**0.5
                assert not module.bias.any()
    with pytest.raises(ValueError, match="scheme is 'he', must be one of 'fan_average', 'fan_in'"):
        models.initialize_(model, 0, "he")


def test_bad_input():
    with pytest.raises(ValueError, match="model is 'vgg', must be one of 'lenet_300_100', 'lenet5', 'resnet'"):
        models.build("vgg", (1, 8, 8), 10)
    with pytest.raises(ValueError, match=r"input_shape is \(1, 3, 8\)"):
        models.lenet5((1, 3, 8))
    with pytest.raises(ValueError, match="depth is 21"):
        models.resnet(depth=21)
    with pytest.raises(ValueError, match="width is 0"):
        models.resnet(width=0)
