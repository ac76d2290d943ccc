import numpy as np
import pytest
import torch
import torch.nn.functional as F

from siseon.data.mixing import cutmix, mixup, smoothed


def plain_pictures(count=5, height=12, width=20):
    """Picture i has the value i + 1 everywhere, so that a mean tells what it is made of."""
    return torch.arange(1.0, count + 1).view(-1, 1, 1, 1).expand(count, 3, height, width).clone()


def values_from(shares):
    """The mean value that a picture with these shares of the pictures 1, 2, ... has."""
    return shares @ torch.arange(1.0, shares.shape[1] + 1)


def test_smoothing_is_the_papers():
    shares = smoothed(torch.tensor([2, 0]), classes=4, smoothing=0.1)
    wanted = torch.tensor([[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]])
    torch.testing.assert_close(shares, wanted)
    assert smoothed(torch.tensor([1]), classes=3).tolist() == [[0, 1, 0]]


def test_smoothing_gives_torchs_loss():
    logits, labels = torch.randn(6, 5), torch.arange(6) % 5
    ours = F.cross_entropy(logits, smoothed(labels, classes=5, smoothing=0.2))
    assert ours.item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=0.2).item(), rel=1e-6)


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("seed", range(20))
def test_the_label_is_what_the_picture_holds(mix, seed):
    images, shares = mix(
        plain_pictures(), smoothed(torch.arange(5), classes=5), alpha=1.0, random=np.random.default_rng(seed)
    )
    assert shares.sum(1).tolist() == pytest.approx([1] * 5)
    assert images.mean((1, 2, 3)).tolist() == pytest.approx(values_from(shares).tolist(), rel=1e-5)


def test_mixup_blends_and_cutmix_cuts():
    start = smoothed(torch.arange(5), classes=5)
    blended, shares = mixup(plain_pictures(), start, alpha=1.0, random=np.random.default_rng(3))
    assert all(len(picture.unique()) == 1 for picture in blended)
    assert (shares.max(1).values < 1).any()
    cut, _ = cutmix(plain_pictures(), start, alpha=1.0, random=np.random.default_rng(3))
    assert set(cut.unique().tolist()) == {1, 2, 3, 4, 5}
    assert any(len(picture.unique()) == 2 for picture in cut)


def test_the_rectangle_is_cut_at_the_edge_and_still_counted():
    """Over many draws rectangles touch every edge; the share is that of the pixels, never that of the drawn size."""
    for seed in range(200):
        images, shares = cutmix(
            plain_pictures(2), smoothed(torch.arange(2), classes=2), alpha=0.3, random=np.random.default_rng(seed)
        )
        assert images[0].eq(1).float().mean().item() == pytest.approx(shares[0, 0].item(), abs=1e-6)


def test_the_same_seed_gives_the_same_mix_and_the_input_stays():
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    first, again = (cutmix(images, torch.eye(4), alpha=1.0, random=np.random.default_rng(9))[0] for _ in range(2))
    assert (first == again).all()
    assert (images == before).all()
