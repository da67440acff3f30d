import itertools

import pytest
import torch
from torch import nn

from pruning_lib.acceleration import two_four
from pruning_lib.workbench import models


def test_the_two_largest_by_size_stay():
    weight = torch.tensor([[1.0, -9.0, 3.0, -2.0], [0.0, -1.0, -1.0, -1.0]])
    assert two_four.best_mask(weight).tolist() == [[False, True, True, False], [False, True, True, False]]
    small = torch.tensor([[-128, 127, 1, -127]], dtype=torch.int8)
    assert two_four.best_mask(small).tolist() == [[True, True, False, False]]


def test_the_size_of_the_smallest_integer_is_its_largest():
    weight = torch.tensor([[-(2**31), 1, 2, 3]], dtype=torch.int32)
    assert two_four.best_mask(weight).tolist() == [[True, False, False, True]]
    for bad in ([[1.0] * 4], torch.ones(1, 4).bool(), torch.full((1, 4), -(2**63))):
        with pytest.raises(ValueError, match="weight"):
            two_four.best_mask(bad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8])
def test_no_pair_of_a_group_is_larger_and_the_result_packs(dtype):
    weight = (torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * 40).to(dtype)
    kept = weight * two_four.best_mask(weight)
    for group, whole in zip(kept.view(-1, 4).double().abs(), weight.view(-1, 4).double().abs(), strict=True):
        assert group.sum() == max(a + b for a, b in itertools.combinations(whole, 2))
    assert torch.equal(two_four.unpack(*two_four.pack(kept), 8), kept)


def test_masks_of_a_model_take_the_layers_that_fit():
    model = models.lenet5()  # conv1 has 25 columns, conv2 500
    masks = two_four.best_masks(model)
    assert set(masks) == {"conv2.weight", "fc1.weight", "fc2.weight"}
    assert masks.sparsity == 0.5
    masks.zero_(model)
    assert two_four.is_two_four(model.conv2.weight.flatten(1)) and not two_four.is_two_four(
        model.conv2.weight[:, :, 0, 0]
    )
    assert set(two_four.best_masks(model, ["fc1"])) == {"fc1.weight"}
    assert set(two_four.best_masks(nn.Linear(4, 2), [""])) == {"weight"}
    with pytest.raises(ValueError, match="conv1.weight.* has 25 columns"):
        two_four.best_masks(model, ["conv1"])
    with pytest.raises(ValueError, match="'relu1.weight', which is not prunable"):
        two_four.best_masks(model, ["relu1"])
    with pytest.raises(ValueError, match="columns a multiple of 4"):
        two_four.best_masks(nn.Linear(6, 8))


def greedy(weight):
    """The same search, spelled out: of all swaps of two columns the best, until none gains."""
    order = torch.arange(weight.shape[1])
    best = two_four.kept_magnitude(weight)
    while True:
        swaps = []
        for i, j in itertools.combinations(range(len(order)), 2):
            tried = order.clone()
            tried[[i, j]] = order[[j, i]]
            swaps.append((two_four.kept_magnitude(weight[:, tried]), tried))
        score, tried = max(swaps, key=lambda swap: swap[0])
        if score <= best * (1 + 1e-12):
            return best
        best, order = score, tried


@pytest.mark.parametrize("seed", range(4))
def test_the_search_is_the_greedy_one(seed):
    weight = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    order = two_four.find_permutation(weight)
    assert sorted(order.tolist()) == list(range(12))
    # the test's greedy search ends where no single swap gains; ties apart, both walk the same way
    assert two_four.kept_magnitude(weight[:, order]) == pytest.approx(greedy(weight), rel=1e-9)
    assert greedy(weight) > two_four.kept_magnitude(weight)


def test_four_large_channels_in_one_group_part_company():
    weight = torch.ones(3, 8)
    weight[:, :4] = 100.0
    order = two_four.find_permutation(weight)
    assert two_four.kept_magnitude(weight) == 3 * (200 + 2)
    assert two_four.kept_magnitude(weight[:, order]) == 3 * 400
    assert torch.equal(two_four.find_permutation(torch.ones(3, 8)), torch.arange(8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_permuting_never_loses(dtype):
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    order = two_four.find_permutation(weight)
    assert two_four.kept_magnitude(weight[:, order]) > two_four.kept_magnitude(weight)


@pytest.mark.parametrize("weight", [torch.zeros(4, 6), torch.zeros(4), torch.full((2, 4), torch.nan)])
def test_bad_weights_are_errors(weight):
    with pytest.raises(ValueError, match="weight"):
        two_four.find_permutation(weight)


def randomized(model):
    generator = torch.Generator().manual_seed(0)
    for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return model.double().eval()


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.leave = nn.Linear(8, 3)

    def forward(self, x):
        r = self.enter(x).relu()
        return self.leave(r + self.outer(self.inner(r).relu()))


def chain():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 12),
        nn.ReLU(),
        nn.Linear(12, 5),
    )


@pytest.mark.parametrize(
    ("build", "shape", "layer"),
    [
        (chain, (2, 3, 8, 8), "4"),
        (chain, (2, 3, 8, 8), "7"),
        (chain, (2, 3, 8, 8), "9"),
        (Residual, (2, 6), "outer"),
        (Residual, (2, 6), "leave"),
    ],
)
def test_permuted_channels_leave_the_outputs_alone(build, shape, layer):
    model, x = randomized(build()), torch.rand(shape, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = model.get_submodule(layer).weight
    order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(2))
    permuted = two_four.permute(model, x, layer, order)
    assert torch.equal(permuted.get_submodule(layer).weight, weight[:, order])
    torch.testing.assert_close(permuted(x), model(x), rtol=1e-12, atol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.leave = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(8, 3)

    def forward(self, x):
        return self.leave(torch.cat([self.left(x), self.right(x)], 1))


def test_channels_stay_with_the_layer_that_makes_them():
    model, x = randomized(Joined()), torch.rand(2, 6, dtype=torch.float64)
    within = torch.tensor([3, 1, 0, 2, 4, 5, 7, 6])
    torch.testing.assert_close(two_four.permute(model, x, "leave", within)(x), model(x), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="into 'left.weight' that other layers make"):
        two_four.permute(model, x, "leave", torch.arange(8).roll(1))


class Shared(nn.Module):
    """Two layers read what one makes; together they want an order that neither wants alone."""

    def __init__(self):
        super().__init__()
        self.enter, self.one, self.other, self.leave = (
            nn.Linear(6, 12),
            nn.Linear(12, 5),
            nn.Linear(12, 5),
            nn.Linear(5, 3),
        )

    def forward(self, x):
        x = self.enter(x).relu()
        return self.leave(self.one(x) + self.other(x))


def test_a_whole_model_is_permuted_where_it_can_be():
    model, x = Shared().double(), torch.rand(4, 6, dtype=torch.float64)
    permuted, left = two_four.permute_model(model, x)
    torch.testing.assert_close(permuted(x), model(x), rtol=0, atol=1e-12)
    assert set(left) == {"enter", "leave"} and "5 columns" in left["leave"]
    both = torch.cat([model.one.weight, model.other.weight])
    order = two_four.find_permutation(both)
    assert torch.equal(torch.cat([permuted.one.weight, permuted.other.weight]), both[:, order])
    assert two_four.kept_magnitude(both[:, order]) > two_four.kept_magnitude(both)
    with pytest.raises(ValueError, match="no channels of the model can be moved: .*no layer that could be"):
        two_four.permute_model(nn.Linear(8, 4), torch.rand(1, 8))


def test_a_reader_that_cannot_be_moved_is_left():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.joined = Shared(), Joined()

        def forward(self, x):
            return self.shared(x), self.joined(x)

    torch.manual_seed(0)
    model, x = Both().double(), torch.rand(4, 6, dtype=torch.float64)
    with torch.no_grad():  # the order that gains moves channels from one layer to the other
        model.joined.leave.weight.fill_(1)[:, :4] = 100
    permuted, left = two_four.permute_model(model, x)
    assert "that other layers make" in left["joined.leave"] and "shared.one" not in left
    torch.testing.assert_close(permuted(x), model(x))
    with pytest.raises(ValueError, match="no channels of the model can be moved: .*that other layers make"):
        two_four.permute_model(model.joined, x)


class Beside(nn.Module):
    """A 3×3 convolution reads the channels that a 1×1 convolution would have in another order."""

    def __init__(self):
        super().__init__()
        self.enter, self.point, self.wide = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        x = self.enter(x).relu()
        return self.point(x) + self.wide(x)


@pytest.mark.parametrize("seed", range(4))
def test_the_whole_model_never_keeps_less(seed):
    torch.manual_seed(seed)
    model, x = Beside().double(), torch.rand(1, 3, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        columns = model.wide.weight.zero_().view(2, -1)
        columns[:, 0::4] = columns[:, 1::4] = 1000  # as it is, 2:4 drops nothing of it

    def kept(model):
        return sum(two_four.kept_magnitude(layer.weight.flatten(1)) for layer in (model.point, model.wide))

    try:
        permuted, _ = two_four.permute_model(model, x)
    except ValueError as error:
        assert "costs other layers more magnitude" in str(error)
    else:
        assert kept(permuted) >= kept(model) * (1 - 1e-12)


def test_held_weights_do_not_move():
    model, x = randomized(chain()), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    handle = two_four.best_masks(model, ["9"]).hold(model)
    with pytest.raises(ValueError, match="'9.weight' is held by a mask"):
        two_four.permute(model, x, "9", torch.arange(12).flip(0))
    handle.remove()
    torch.testing.assert_close(two_four.permute(model, x, "9", torch.arange(12).flip(0))(x), model(x))


def test_channels_that_cannot_move_are_errors():
    x = torch.rand(1, 1, 28, 28)
    model = models.lenet5()
    with pytest.raises(ValueError, match="several belong together"):
        two_four.permute(model, x, "fc1", torch.arange(800))
    with pytest.raises(ValueError, match="must be a Linear or a 1×1 convolution"):
        two_four.permute(model, x, "conv2", torch.arange(20))
    with pytest.raises(ValueError, match="no module of the model"):
        two_four.permute(model, x, "fc9", torch.arange(20))
    for order in (torch.zeros(500, dtype=torch.int64), torch.arange(20), torch.arange(500).float()):
        with pytest.raises(ValueError, match="permutation of 0 to 499"):
            two_four.permute(model, x, "fc2", order)
    with pytest.raises(ValueError, match="no layer that could be reordered makes them"):
        two_four.permute(Residual(), torch.rand(2, 6), "enter", torch.arange(6))


class Masked(nn.Module):
    """Outputs that are infinite or nan in places, and wrong ones if a weight is read by its position."""

    def __init__(self, fill, wrong):
        super().__init__()
        self.enter, self.leave, self.fill, self.wrong = nn.Linear(6, 8), nn.Linear(8, 3), fill, wrong

    def forward(self, x):
        y = self.leave(self.enter(x).relu())
        if self.wrong:
            with torch._C.DisableTorchFunction():  # what nobody can follow
                y += self.enter.bias[0]
        return y.masked_fill(torch.tensor([False, True, False]), self.fill)


@pytest.mark.parametrize("fill", [-torch.inf, torch.inf, torch.nan, -1e9])
def test_outputs_that_are_not_finite_are_compared(fill):
    x, order = torch.rand(2, 6, dtype=torch.float64), torch.arange(8).flip(0)
    model = randomized(Masked(fill, wrong=False))
    permuted = two_four.permute(model, x, "leave", order)
    torch.testing.assert_close(permuted(x), model(x), rtol=1e-12, atol=0, equal_nan=True)
    with pytest.raises(ValueError, match=r"'leave' reads cannot be moved: the outputs differ"):
        two_four.permute(randomized(Masked(fill, wrong=True)), x, "leave", order)


def residual():
    """`Residual` and all that its graph shows, given by hand: the stream, and the hidden units."""
    stream = [(f"{layer}.{part}", 0, range(8)) for layer in ("enter", "outer") for part in ("weight", "bias")]
    stream += [("inner.weight", 1, range(8)), ("leave.weight", 1, range(8))]
    hidden = [("inner.weight", 0, range(12)), ("inner.bias", 0, range(12)), ("outer.weight", 1, range(12))]
    model = randomized(Residual())
    scores = {f"{name}.weight": model.get_submodule(name).weight.detach() for name in ("inner", "outer", "leave")}
    return model, torch.rand(2, 6, dtype=torch.float64), [stream, hidden], scores


def test_given_sets_of_channels_are_put_in_the_orders_found_for_all_their_readers():
    model, x, channels, scores = residual()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    orders = two_four.find_orders(channels, scores)
    assert torch.equal(
        orders[0], two_four.find_permutation(torch.cat([scores["inner.weight"], scores["leave.weight"]]))
    )
    permuted = two_four.permute_channels(model, x, channels, orders)
    torch.testing.assert_close(permuted(x), model(x), rtol=1e-12, atol=0)
    assert torch.equal(permuted.inner.weight, model.inner.weight[orders[1]][:, orders[0]])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_part_of_a_dimension_is_permuted_alone():
    model, x = randomized(Joined()), torch.rand(2, 6, dtype=torch.float64)
    channels = [
        [("right.weight", 0, range(4)), ("right.bias", 0, range(4)), ("leave.weight", 1, range(4, 8))],
    ]
    order = torch.tensor([3, 1, 0, 2])
    permuted = two_four.permute_channels(model, x, channels, [order])
    assert torch.equal(permuted.leave.weight[:, 4:], model.leave.weight[:, 4:][:, order])
    assert torch.equal(permuted.leave.weight[:, :4], model.leave.weight[:, :4])


def test_sets_of_channels_that_do_not_fit_are_errors():
    model, x, channels, scores = residual()
    orders = [torch.arange(8).flip(0), torch.arange(12).flip(0)]
    stream, hidden = channels
    for bad, message in [
        ([stream, [*hidden, ("wrong.weight", 0, range(12))]], "'wrong.weight': no parameter of the model"),
        ([stream, [*hidden, ("leave.weight", 1, range(12))]], r"channels\[1\] has .* 'leave.weight': \(3, 8\)"),
        ([stream, [*hidden, ("leave.weight", 2, range(12))]], r"channels\[1\] has .* 'leave.weight': \(3, 8\)"),
        ([stream, [*hidden, ("outer.weight", 1, range(0, 12, 2))]], r"channels\[1\] has .* must be places in"),
        ([stream[1:], hidden], "channels can't be moved as given: the outputs differ"),
        ([stream], "orders are 2, must be one for each of the 1 sets"),
    ]:
        with pytest.raises(ValueError, match=message):
            two_four.permute_channels(model, x, bad, orders)
    for bad_order in (torch.arange(11), torch.zeros(12, dtype=torch.int64), torch.arange(12).double()):
        with pytest.raises(ValueError, match=r"orders\[1\] must be a permutation of 0 to 11"):
            two_four.permute_channels(model, x, channels, [orders[0], bad_order])
    with pytest.raises(ValueError, match=r"channels\[1\] is .* must have columns of one of the scores"):
        two_four.find_orders(channels, {name: scores[name] for name in ("inner.weight", "leave.weight")})
    with pytest.raises(ValueError, match="columns a multiple of 4"):
        two_four.find_orders([[("inner.weight", 1, range(6))]], scores)
    with pytest.raises(
        ValueError, match=r"scores\['outer.weight'\] has shape \(8, 8\), must be a matrix with columns ra"
    ):
        two_four.find_orders(channels, scores | {"outer.weight": torch.ones(8, 8)})
    handle = two_four.best_masks(model, ["outer"]).hold(model)
    with pytest.raises(ValueError, match="'outer.weight' is held by a mask"):
        two_four.permute_channels(model, x, channels, orders)
    handle.remove()
