"""Games that a network can learn to play: a small Breakout of our own, and those of the Atari 2600."""
