"""A parameter aid: a grid of settings on a few tiles of a screen, side by side."""
