"""Passes that are repeated give what passes give."""

import copy
import threading

import pytest
import torch
from torch import nn

from siseon import recording, threads, zoo
from siseon.interface import Images
from siseon.models.classification.classifier import Classifier
from siseon.optimization import optimize
from siseon.recording import Repeated

CLASSIFIERS = [name for name in zoo.names("classification") if name.endswith("_mini")]


class Network(Classifier):
    """Two convolutions and what a test does between them."""

    def __init__(self, between=lambda maps: maps):
        super().__init__(classes=4, resize=16, crop=16)
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), nn.ReLU())
        self.second = nn.Conv2d(20, 4, 1)
        self.between = between

    def logits(self, normalised):
        return self.second(self.between(self.first(normalised))).mean((2, 3))


def lived(model):
    """The model in eval mode with statistics in its norms as if it had been trained."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def pictures(seed=0, batch=2, side=16):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def proved(network, images):
    """The recording of a network for pictures of this shape; None where it makes none."""
    with torch.inference_mode():
        for _ in range(3):
            network(images)
    found = [each for each in network.forward.recordings.values() if each is not None]
    return found[-1] if found and found[-1].proved else None


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_keeps_its_numbers(name):
    torch.manual_seed(0)
    model = lived(zoo.create(name, classes=5))
    fast, images = optimize(model), torch.rand(3, 2, 3, model.crop, model.crop)
    with torch.inference_mode():
        for each in (*images, *images):
            expected = model(each)
            torch.testing.assert_close(fast(each), expected, rtol=0, atol=2e-4 * float(expected.std()))
    if name in ("resnet_mini", "mobilenet_mini", "efficientnet_mini", "vgg_mini"):
        (kept,) = fast.forward.recordings.values()
        assert kept.proved


def test_results_are_tensors_of_their_own():
    fast = optimize(Network())
    assert proved(fast, pictures())
    one = fast(pictures(1))
    before = one.clone()
    two = fast(pictures(2))
    assert torch.equal(one, before)
    assert not torch.equal(one, two)
    one += 1  # no tensor of inference mode
    assert not torch.is_inference(one)


def test_a_repetition_calls_nothing_of_python(monkeypatch):
    fast = optimize(Network())
    (step,) = proved(fast, pictures()).steps
    assert len(step.works) == 6  # normalised; zeros around, first; second; two for the mean
    monkeypatch.setattr(type(fast.first), "forward", None)
    assert fast(pictures(3)).shape == (2, 4)


def test_operators_of_torch_are_repeated_too(monkeypatch):
    monkeypatch.setattr(recording, "MOST_OPERATORS", 2)
    fast = optimize(Network(lambda maps: torch.cat([maps.sin()[:, :10], maps.add(1).mul_(2)[:, 10:]], 1)))
    kept = proved(fast, pictures())
    assert any(isinstance(step, recording.Operator) for step in kept.steps)
    torch.testing.assert_close(fast(pictures(5)), fast.forward.written(pictures(5)))


@pytest.mark.parametrize(
    "between",
    [
        lambda maps: maps * (2 if maps.sum() > 0 else 1),
        lambda maps: maps + torch.rand(()),
        lambda maps: maps + len(maps.nonzero()),
        lambda maps: threads.in_threads(lambda part, parts: None, most=2) or maps,
    ],
    ids=["asks", "random", "sizes", "python's threads"],
)
def test_what_depends_on_numbers_is_not_repeated(between):
    fast = optimize(Network(between))
    assert proved(fast, pictures()) is None
    assert not fast.forward.possible
    assert fast(pictures(3)).shape == (2, 4)


def test_many_operators_of_torch_are_not_worth_it():
    fast = optimize(Network(lambda maps: maps.sin().cos().tan().exp()))
    assert proved(fast, pictures()) is None


def test_a_network_that_hides_what_it_depends_on_is_found_out():
    calls = []

    def counted(maps):
        calls.append(1)
        return maps * len(calls)

    fast = optimize(Network(counted))
    assert proved(fast, pictures()) is None
    assert not fast.forward.possible
    assert fast(pictures()).shape == (2, 4)


def test_each_shape_has_its_own_and_few_are_kept():
    fast = optimize(Network())
    for side in (8, 9, 10, 11, 12, 13):
        assert proved(fast, pictures(side=side))
    assert len(fast.forward.recordings) == recording.MOST_SHAPES
    torch.testing.assert_close(fast(pictures(1, side=13)), fast.forward.written(pictures(1, side=13)))


def test_a_shape_that_comes_once_costs_no_memory():
    fast = optimize(Network())
    for side in range(8, 11):
        fast(pictures(side=side))
    assert list(fast.forward.recordings.values()) == [None] * 3


def test_hooks_and_modes_see_a_pass():
    fast, seen = optimize(Network()), []
    assert proved(fast, pictures())
    handle = fast.second.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    fast(pictures())
    handle.remove()
    assert seen == [(2, 4, 16, 16)]

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen.clear()
    with Watch():
        fast(pictures())
    assert len(seen) > 5


def test_padded_and_large_and_single_pictures_pass_as_they_are(monkeypatch):
    fast = optimize(Network())
    padded = Images(pictures(), ((16, 12), (9, 16)))
    for _ in range(4):
        assert fast(pictures()[0]).shape == (1, 4)
    monkeypatch.setattr(recording, "MOST_NUMBERS", pictures().numel() - 1)
    for _ in range(4):
        fast(padded)
        fast(pictures())
    assert not fast.forward.recordings


def test_pictures_that_are_not_contiguous():
    fast = optimize(Network())
    images = pictures(batch=4)
    kept = proved(fast, images[::2])
    assert kept
    torch.testing.assert_close(fast(images[::2]), fast.forward.written(images[::2]))
    turned = images[::2].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(turned), fast.forward.written(images[::2]))


def test_several_threads_at_once():
    fast = optimize(Network())
    images = [pictures(seed) for seed in range(4)]
    assert proved(fast, images[0])
    expected = [fast.forward.written(each) for each in images]
    wrong = []

    def work(number):
        with torch.inference_mode():
            for _ in range(50):
                if not torch.allclose(fast(images[number]), expected[number], atol=1e-5):
                    wrong.append(number)

    callers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_threads_has_its_own(count):
    fast, before = optimize(Network()), torch.get_num_threads()
    assert proved(fast, pictures())
    try:
        torch.set_num_threads(count)
        assert proved(fast, pictures())
        torch.testing.assert_close(fast(pictures(1)), fast.forward.written(pictures(1)))
    finally:
        torch.set_num_threads(before)


def test_without_openmp(monkeypatch):
    for function in (threads.openmp, threads.barrier, threads.thread_number):
        function.cache_clear()
    monkeypatch.setattr(threads, "MAPS", threads.MAPS / "missing")
    try:
        fast = optimize(Network())
        assert proved(fast, pictures())
        torch.testing.assert_close(fast(pictures(1)), fast.forward.written(pictures(1)))
    finally:
        monkeypatch.undo()
        for function in (threads.openmp, threads.barrier, threads.thread_number):
            function.cache_clear()


def test_grey_pictures_are_spread_over_the_colours():
    fast, grey = optimize(Network()), pictures()[:, :1]
    for _ in range(4):
        torch.testing.assert_close(fast(grey), fast(grey.expand(-1, 3, -1, -1)))


def test_other_networks_are_not_repeated():
    for network in (nn.Sequential(nn.Conv2d(3, 4, 3)), zoo.create("fcn_mini", classes=3), zoo.create("ssd_mini")):
        assert not isinstance(optimize(network).forward, Repeated)


def test_memory_goes_to_later_tensors():
    memory = recording.Memory()
    shape = torch.empty(3, 5, device="meta")
    one = memory.empty_like(shape)
    view, address = one.view(-1)[4:], one.data_ptr()
    del one
    assert memory.empty_like(shape).data_ptr() != address
    del view
    assert memory.empty_like(shape).data_ptr() == address


def test_a_copy_repeats_for_itself():
    fast = optimize(Network())
    other = copy.deepcopy(fast)
    assert isinstance(other.forward, Repeated)
    assert other.forward.network is other
    assert other(pictures()).shape == (2, 4)
    assert not fast.forward.recordings
