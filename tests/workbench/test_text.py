import re

import pytest
import torch

from pruning_lib.workbench import text


def paragraphs(tokens):
    return {" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text.decode(tokens))}


def test_topics_hold_out_what_is_not_trained_on():
    topics = text.load()
    assert len(topics.train) > 300_000 and len(topics.held_out) > 30_000
    assert paragraphs(topics.train) & paragraphs(topics.held_out) <= {""}
    assert len(paragraphs(topics.held_out)) > 100
    assert topics.train.dtype == torch.int64 and topics.train.min() >= 0 and topics.train.max() <= 255
    assert torch.equal(text.load().train, topics.train)


def test_each_paragraph_counts_once():
    kept = [" ".join(p.split()) for p in re.split(r"\n\s*\n", text.decode(text.load().train))]
    assert len(kept) == len(set(kept))


def test_a_file_is_split_at_nine_tenths(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(range(256)) * 8)
    loaded = text.load(path)
    assert torch.cat([loaded.train, loaded.held_out]).tolist() == list(range(256)) * 8
    assert len(loaded.held_out) == round(2048 * 0.1)
    assert repr(loaded) == "a.txt: 1,843 bytes to train on, 205 held out"


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"text is '.*nothing', must be 'topics' or the path of a file"):
        text.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="must be 'topics' or the path"):
        text.load(tmp_path)
    (tmp_path / "short.txt").write_bytes(b"a" * 999)
    with pytest.raises(ValueError, match=r"short.txt has 999 bytes, must have at least 1000"):
        text.load(tmp_path / "short.txt")


def test_encode_and_decode():
    assert text.encode("né").tolist() == [110, 195, 169]
    assert text.encode("").tolist() == []
    assert text.decode(text.encode("“né”\n")) == "“né”\n"
    assert text.decode(torch.tensor([110, 195])) == "n�"


def test_windows_follow_the_seed_and_reach_both_ends():
    tokens = torch.arange(10)
    drawn = text.windows(tokens, 4, 200, seed=3)
    assert torch.equal(drawn, text.windows(tokens, 4, 200, seed=3))
    assert not torch.equal(drawn, text.windows(tokens, 4, 200, seed=4))
    assert torch.equal(drawn - drawn[:, :1], torch.arange(4).expand(200, 4))
    assert set(drawn[:, 0].tolist()) == set(range(7))


def test_segments_do_not_overlap_and_drop_the_rest():
    assert text.segments(torch.arange(11), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("cut", [text.segments, lambda tokens, length: text.windows(tokens, length, 1, seed=0)])
def test_too_short_for_a_stretch(cut):
    with pytest.raises(ValueError, match=r"tokens has shape \(3,\), must be \(count,\) with at least 4 tokens"):
        cut(torch.arange(3), 4)
    with pytest.raises(ValueError, match=r"tokens has shape \(3, 9\)"):
        cut(torch.zeros(3, 9), 4)
    with pytest.raises(ValueError, match="length is 1, must be at least 2"):
        cut(torch.arange(3), 1)
