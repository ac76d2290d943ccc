"""The physics of the small Breakout, one ball at a time, and its bookkeeping over many games."""

import numpy as np
import pytest

from siseon.games import breakout
from siseon.games.breakout import BALL, BOTTOM, BRICK, LIMIT, LIVES, PADDLE, POINTS, SIDE, Breakout
from siseon.interface import RecipeError


def placed(ball, speed, *, paddle=6):
    """One game with the ball and the paddle where the test wants them."""
    game = Breakout()
    game.ball[:], game.speed[:], game.paddle[:] = ball, speed, paddle
    return game


def step(game, action=0):
    return game.step(np.full(game.copies, action))


def test_frames_show_bricks_paddle_and_ball():
    frames = placed((7, 3), (1, 1))._frames()
    assert frames.dtype == np.uint8 and frames.shape == (1, SIDE, SIDE)
    assert (frames == BRICK).sum() == 3 * SIDE and (frames[0, 2:5] == BRICK).all()
    assert np.flatnonzero(frames[0, BOTTOM] == PADDLE).tolist() == [5, 6, 7]
    assert np.argwhere(frames[0] == BALL).tolist() == [[7, 3]]


@pytest.mark.parametrize(
    ("ball", "speed", "ball_after", "speed_after"),
    [
        ((7, 3), (1, 1), (8, 4), (1, 1)),
        ((7, 3), (-1, -1), (6, 2), (-1, -1)),
        ((7, 0), (1, -1), (8, 1), (1, 1)),  # the left wall
        ((7, 11), (-1, 1), (6, 10), (-1, -1)),  # the right wall
        ((0, 5), (-1, 1), (1, 6), (1, 1)),  # the ceiling
        ((0, 0), (-1, -1), (1, 1), (1, 1)),  # a corner
        ((5, 5), (-1, 1), (5, 5), (1, 1)),  # a brick from below: the ball stays and turns
        ((1, 5), (1, 1), (1, 5), (-1, 1)),  # a brick from above
        ((10, 4), (1, 1), (10, 4), (-1, -1)),  # the left pixel of the paddle, pixels 5 to 7
        ((10, 5), (1, 1), (10, 5), (-1, 1)),  # its middle
        ((10, 8), (1, -1), (10, 8), (-1, 1)),  # its right pixel
    ],
)
def test_the_ball_flies_and_is_thrown_back(ball, speed, ball_after, speed_after):
    game = placed(ball, speed)
    turn = step(game)
    assert (game.ball[0].tolist(), game.speed[0].tolist()) == (list(ball_after), list(speed_after))
    assert not turn.lost[0] and not turn.over[0]


def test_a_brick_is_a_point_and_is_gone():
    game = placed((5, 5), (-1, 1))
    assert step(game).rewards.tolist() == [1.0]
    assert game.bricks.sum() == POINTS - 1 and not game.bricks[0, 2, 3]
    assert step(game).rewards.tolist() == [0.0]


def test_a_missed_ball_costs_a_life_and_the_third_the_game():
    game = placed((10, 1), (1, -1))
    game.bricks[0, 0, 0] = False
    for left in (2, 1):
        turn = step(game)
        assert (turn.lost.tolist(), turn.over.tolist(), game.lives.tolist()) == ([True], [False], [left])
        assert game.ball[0, 0] == 5 and not game.bricks[0, 0, 0]
        game.ball[:], game.speed[:] = (10, 1), (1, -1)
    turn = step(game)
    assert (turn.lost.tolist(), turn.over.tolist()) == ([True], [True])
    assert game.lives.tolist() == [LIVES] and game.bricks.all()


def test_the_last_brick_wins():
    game = placed((5, 5), (-1, 1))
    game.bricks[:] = False
    game.bricks[0, 2, 3] = True
    turn = step(game)
    assert (turn.rewards.tolist(), turn.lost.tolist(), turn.over.tolist()) == ([1.0], [True], [True])
    assert game.bricks.all()


def test_a_game_without_end_is_broken_off():
    game = placed((7, 3), (1, 1))
    game.turns[:] = LIMIT - 1
    turn = step(game)
    assert (turn.lost.tolist(), turn.over.tolist(), game.turns.tolist()) == ([False], [True], [0])


@pytest.mark.parametrize(("action", "ends_at"), [(0, 6), (1, 1), (2, SIDE - 2)])
def test_the_paddle_moves_by_one_and_stays_on_the_field(action, ends_at):
    game = Breakout()
    step(game, action)
    assert game.paddle.tolist() == [6 + (action == 2) - (action == 1)]
    for _ in range(20):
        step(game, action)
        assert 1 <= game.paddle[0] <= SIDE - 2
    game.turns[:] = 0
    for _ in range(20):
        game.lives[:] = LIVES
        step(game, action)
    assert game.paddle.tolist() == [ends_at]


def test_the_same_seed_and_actions_give_the_same_frames():
    actions = np.random.default_rng(5).integers(0, 3, (60, 4))
    runs = [[game.step(each).frames for each in actions] for game in (Breakout(copies=4, seed=3) for _ in range(2))]
    assert np.array_equal(runs[0], runs[1])
    other = Breakout(copies=4, seed=4)
    assert not np.array_equal(runs[0], [other.step(each).frames for each in actions])


def test_no_ball_is_ever_in_a_brick_and_points_are_bricks():
    """2,000 turns of a player who follows the ball in 16 games, and now and then does not."""
    game, random = Breakout(copies=16, seed=1), np.random.default_rng(0)
    points, won = np.zeros(16), 0
    every = np.arange(16)
    for _ in range(2000):
        follow = np.sign(game.ball[:, 1] - game.paddle) % 3  # 1 is left, as -1 % 3 is 2
        action = np.where(follow == 2, 1, np.where(follow == 1, 2, 0))
        turn = game.step(np.where(random.random(16) < 0.1, random.integers(0, 3, 16), action))
        points += turn.rewards
        won += int((points[turn.over] == POINTS).sum())
        points[turn.over] = 0
        assert np.array_equal(points, POINTS - game.bricks.sum((1, 2)))
        line = game.ball[:, 0] - breakout.FIRST_ROW
        inside = (line >= 0) & (line < breakout.ROWS)
        assert not game.bricks[every[inside], line[inside], game.ball[inside, 1] // 2].any()
        assert ((game.ball >= 0) & (game.ball < SIDE)).all()
    assert won > 10


def test_the_picture_is_in_colour_and_large():
    game = placed((7, 3), (1, 1))
    picture = game.picture()
    assert picture.shape == (296, 296, 3) and picture.dtype == np.uint8
    assert picture[4 + 24 * 7 + 12, 4 + 24 * 3 + 12].tolist() == [255, 255, 255]
    assert picture[4 + 24 * 2 + 12, 4 + 24].tolist() == list(breakout.COLOURS[0])


def test_no_copies_are_refused():
    with pytest.raises(RecipeError, match="Give 1 or more"):
        Breakout(copies=0)
