import pytest

from siseon.comparison.entrants import Entrant, entrants, task_of
from siseon.data.dataset import Data
from siseon.interface import DataError, RecipeError

SCENES = Data("scenes", "detection", ("star",), {})
PHOTOS = Data("내 사진", "detection", ("star",), {})
DIGITS = Data("digits", "classification", ("0", "1"), {})


@pytest.mark.parametrize(
    ("name", "data", "family", "model"),
    [
        ("faster_rcnn", SCENES, "auto", "faster_rcnn_mini"),
        ("faster_rcnn", PHOTOS, "auto", "faster_rcnn_mobilenet_v2"),
        ("faster_rcnn", PHOTOS, "mini", "faster_rcnn_mini"),
        ("faster_rcnn", SCENES, "mobilenet_v2", "faster_rcnn_mobilenet_v2"),
        ("faster_rcnn", SCENES, "exact", "faster_rcnn"),
        ("faster_rcnn_mobilenet_v2", SCENES, "auto", "faster_rcnn_mobilenet_v2"),
        ("resnet", DIGITS, "auto", "resnet_mini"),
        ("lenet", DIGITS, "auto", "lenet"),
    ],
)
def test_a_name_stands_for_the_variant_of_the_family(name, data, family, model):
    assert entrants([name], data, family) == (Entrant(name, model),)


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["fcn", "segnet_mini"], "segmentation"),
        (["fcn", "ssd"], None),
        (["mask_rcnn"], None),
        (["nobody"], None),
        ([], None),
    ],
)
def test_maps_are_asked_for_where_all_models_need_them(names, task):
    assert task_of(names) == task


def test_the_order_is_kept():
    assert [entrant.model for entrant in entrants(["vgg_mini", "lenet"], DIGITS)] == ["vgg_mini", "lenet"]


@pytest.mark.parametrize(
    ("names", "data", "fault", "said"),
    [
        ([], SCENES, RecipeError, "no model is named"),
        (["faster_rcn"], SCENES, RecipeError, 'Did you mean "faster_rcnn"'),
        (["qqqqqq"], SCENES, RecipeError, "siseon models lists all"),
        (["faster_rcnn", "faster_rcnn_mini"], SCENES, RecipeError, "faster_rcnn_mini is named twice"),
        (["faster_rcnn", "lenet"], SCENES, RecipeError, "lenet is for classification: they cannot be compared"),
        (["lenet"], SCENES, DataError, "the data scenes for detection"),
        (["fcn"], SCENES, DataError, "fcn_mini is for segmentation, the data scenes for detection"),
        (["nic_mini"], SCENES, RecipeError, "is for captioning, which is not raced"),
        (["dcgan"], SCENES, RecipeError, "is for generation, which is not raced"),
        (["faster_rcnn_mini"], DIGITS, DataError, "siseon models --task classification"),
    ],
)
def test_what_cannot_be_compared(names, data, fault, said):
    with pytest.raises(fault, match=said):
        entrants(names, data)
