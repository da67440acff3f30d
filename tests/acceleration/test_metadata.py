import pytest
import torch

from pruning_lib.acceleration import two_four

try:  # private, so it may move; then our packer is held to the facts only
    from torch.sparse import _semi_structured_conversions as conversions
except ImportError:
    conversions = None
needs_torchs = pytest.mark.skipif(conversions is None, reason="torch has no _semi_structured_conversions")

# dtype → least rows and columns whose words can be ordered
LEAST = {torch.float16: (32, 32), torch.bfloat16: (32, 32), torch.int8: (16, 64), torch.float32: (32, 16)}


def matrix(rows, columns, dtype, fewer=False, seed=0):
    """Random 2:4 (float32: 1:2); with `fewer`, groups with less non-zeros too."""
    generator = torch.Generator().manual_seed(seed)
    of, most = (2, 1) if dtype == torch.float32 else (4, 2)
    places = torch.rand(rows * columns // of, of, generator=generator).argsort(1)
    counts = torch.randint(0, most + 1, (len(places), 1), generator=generator) if fewer else most
    signs = torch.randint(0, 2, places.shape, generator=generator) * 2 - 1
    values = signs * torch.randint(1, 100, places.shape, generator=generator)
    return (values * (places < counts)).to(dtype).view(rows, columns)


@needs_torchs
@pytest.mark.parametrize("fewer", [False, True])
@pytest.mark.parametrize("times", [(1, 1), (3, 2), (2, 5)])
@pytest.mark.parametrize("dtype", LEAST)
def test_values_and_words_are_torchs_bit_for_bit(dtype, times, fewer):
    dense = matrix(LEAST[dtype][0] * times[0], LEAST[dtype][1] * times[1], dtype, fewer)
    values, metadata = two_four.compress(dense)
    theirs, their_metadata = conversions.sparse_semi_structured_from_dense_cutlass(dense)
    assert values.dtype == theirs.dtype and torch.equal(values, theirs)
    assert metadata.dtype == their_metadata.dtype and torch.equal(metadata, their_metadata)
    assert torch.equal(conversions.sparse_semi_structured_to_dense_cutlass(values, metadata), dense)


@needs_torchs
def test_torch_truncates_silently_where_we_refuse():
    dense = torch.ones(32, 64, dtype=torch.float16)
    values, metadata = conversions.sparse_semi_structured_from_dense_cutlass(dense)
    assert conversions.sparse_semi_structured_to_dense_cutlass(values, metadata).sum() == dense.sum() / 2
    with pytest.raises(ValueError, match="not 2:4: row 0, columns 0 to 3"):
        two_four.compress(dense)
    with pytest.raises(ValueError, match="not 1:2: row 0, columns 0 and 1"):
        two_four.compress(dense.float())


@pytest.mark.parametrize("dtype", LEAST)
def test_decompress_gives_back_what_was_compressed(dtype):
    dense = matrix(LEAST[dtype][0] * 2, LEAST[dtype][1] * 3, dtype, fewer=True)
    assert torch.equal(two_four.decompress(*two_four.compress(dense)), dense)


@pytest.mark.parametrize(("dtype", "shape"), [(torch.int16, (64, 6)), (torch.int32, (48, 4)), (torch.int32, (16, 2))])
def test_reordering_moves_every_word_and_back(dtype, shape):
    plain = torch.arange(shape[0] * shape[1], dtype=dtype).view(shape)
    reordered = two_four.reorder(plain)
    assert not torch.equal(reordered, plain)
    assert reordered.is_contiguous()
    assert torch.equal(reordered.flatten().sort().values, plain.flatten())
    assert torch.equal(two_four.plain_order(reordered), plain)


def test_a_word_by_hand():
    # nibbles, lowest first: (0,1) 0100, (0,2) 1000, (1,2) 1001, (2,3) 1110
    indices = torch.tensor([[0, 1, 0, 2, 1, 2, 2, 3]], dtype=torch.uint8)
    (word,) = two_four.words(indices, torch.float16).flatten().tolist()
    assert word & 0xFFFF == 0xE984
    (wide,) = two_four.words(indices.repeat(1, 2), torch.int8).flatten().tolist()
    assert wide & 0xFFFFFFFF == 0xE984E984


@pytest.mark.parametrize(
    ("dtype", "bits", "share"),
    [
        (torch.float16, None, 0.5625),
        (torch.bfloat16, None, 0.5625),
        (torch.int8, None, 0.625),
        (torch.int8, 4, 0.75),
        (torch.float32, None, 0.53125),
    ],
)
def test_bytes_are_the_share_of_dense_exactly(dtype, bits, share):
    dense = matrix(32, 64, dtype) % 8
    size = two_four.size(dense, bits)
    assert size.dense == 32 * 64 * (bits or 8 * dtype.itemsize) // 8
    assert size.share == share == (size.values + size.metadata) / size.dense
    if dtype != torch.float32:
        values, metadata = two_four.compress(dense)
        assert size.metadata == metadata.nbytes
        assert bits == 4 or size.values == values.nbytes


def test_float32_in_hardware_is_one_of_two_and_takes_0_5625():
    dense = matrix(32, 64, torch.float32)
    assert sum(part.nbytes for part in two_four.compress(dense)) / dense.nbytes == 0.5625
    assert two_four.packed_share(torch.float32) == 0.5625


def test_bits_lie_side_by_side():
    assert two_four.pack_bits(torch.tensor([3, 0, 1, 2, 1], dtype=torch.uint8), 2).tolist() == [0b10010011, 1]
    assert two_four.pack_bits(torch.tensor([15, 1, 7], dtype=torch.uint8), 4).tolist() == [0x1F, 7]


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((16, 64), torch.float16, "rows a multiple of 32"),
        (
            (32, 16),
            torch.float16,
            "columns of 32 in torch.float16",
        ),  # torch's check lets it pass, and its scatter then fails
        ((32, 24), torch.float16, "columns of 32"),
        ((16, 32), torch.int8, "columns of 64"),
        ((8, 64), torch.int8, "rows a multiple of 16"),
        ((32, 64), torch.float64, "must be one that sparse tensor cores take"),
    ],
)
def test_shapes_and_dtypes_that_hardware_does_not_take_are_errors(shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        two_four.compress(torch.zeros(shape, dtype=dtype))


def test_other_bad_input_is_an_error():
    values, metadata = two_four.compress(matrix(32, 64, torch.float16))
    with pytest.raises(ValueError, match="must be torch.int16 with the values' rows"):
        two_four.decompress(values[:16], metadata)
    with pytest.raises(ValueError, match="must be an int16 or int32 matrix"):
        two_four.reorder(torch.zeros(32, 2))
    with pytest.raises(ValueError, match="bits is 3"):
        two_four.size(values, 3)
    with pytest.raises(ValueError, match="bits is 3"):
        two_four.pack_bits(torch.zeros(4, dtype=torch.uint8), 3)
    with pytest.raises(ValueError, match="numbers 0 to 3"):
        two_four.pack_bits(torch.tensor([4], dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match="even number of words"):
        two_four.reorder(torch.zeros(32, 1, dtype=torch.int16))
    for indices in (7, torch.full((1, 8), 7, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="numbers 0 to 3"):
            two_four.words(indices, torch.float16)
    with pytest.raises(ValueError, match="from -8 to 7"):
        two_four.size(torch.tensor([[100, 0, 0, 0]], dtype=torch.int8), 4)
