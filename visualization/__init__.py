"""Viewers of a screen's results: napari, and pages in the browser. They change nothing."""
