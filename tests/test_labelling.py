import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.labelling import Rectangle, labelled, places

BOX = Rectangle(50, 60, 150, 160)
CORNERS = st.tuples(st.integers(0, 199), st.integers(0, 99))
EXTENTS = st.tuples(st.integers(1, 200), st.integers(1, 100))


@pytest.mark.parametrize(
    "box, place",
    [
        (BOX, Rectangle(50, 40, 90, 60)),
        (Rectangle(50, 5, 150, 160), Rectangle(50, 5, 90, 25)),
        (Rectangle(180, 60, 200, 160), Rectangle(160, 40, 200, 60)),
        (Rectangle(0, 0, 200, 200), Rectangle(0, 0, 40, 20)),
    ],
)
def test_one_label_takes_the_first_place(box, place):
    assert labelled([box], [(40, 20)], (200, 200))[0].place == place


def test_labels_of_one_box_lie_apart():
    found = [label.place for label in labelled([BOX] * 4, [(40, 20)] * 4, (200, 200)).values()]
    assert len(found) == 4
    assert all(one.shared(other) == 0 for one in found for other in found if one is not other)


def test_a_label_goes_round_a_small_object():
    above = Rectangle(50, 42, 65, 58)
    first, second = labelled([BOX, above], [(40, 20)] * 2, (200, 200)).values()
    assert first.place.shared(above) == second.place.shared(above) == 0
    assert first.hides == second.hides == 0


def test_what_a_label_hides_is_counted_in_shares():
    room = (200, 20)
    everywhere = [Rectangle(0, 20 * row, 200, 20 * row + 20) for row in range(3)]
    found = labelled(everywhere, [room] * 3, (60, 200))
    assert {number: label.hides for number, label in found.items()} == {0: 1, 1: 1, 2: 1}
    assert labelled(everywhere, [room] * 3, (60, 200), most=0.5) == {}


def test_labels_without_room_are_left_out_and_hide_nothing():
    small = [Rectangle(90 + 4 * i, 90, 94 + 4 * i, 100) for i in range(6)]
    found = labelled(small, [(30, 12)] * 6, (200, 200), most=0.15)
    assert 0 < len(found) < 6 and 0 in found
    assert all(label.place.shared(box) <= 0.15 * 40 for label in found.values() for box in small)


@settings(deadline=None)
@given(CORNERS, EXTENTS, EXTENTS)
def test_a_label_that_fits_is_never_off_the_picture(corner, extent, room):
    left, top = corner
    box = Rectangle(left, top, min(left + extent[0], 200), min(top + extent[1], 100))
    for place in places(box, room, (100, 200)):
        assert place.left >= 0 and place.top >= 0 and place.right <= 200 and place.bottom <= 100
        assert (place.right - place.left, place.bottom - place.top) == room


@pytest.mark.parametrize(
    "one, other, pixels",
    [
        (Rectangle(0, 0, 10, 10), Rectangle(5, 8, 20, 20), 10),
        (Rectangle(0, 0, 10, 10), Rectangle(10, 0, 20, 10), 0),
        (Rectangle(0, 0, 10, 10), Rectangle(30, 30, 40, 40), 0),
    ],
)
def test_shared_pixels(one, other, pixels):
    assert one.shared(other) == other.shared(one) == pixels


def test_nothing_has_no_labels():
    assert labelled([], [], (10, 10)) == {}
