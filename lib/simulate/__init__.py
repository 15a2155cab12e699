"""Synthetic optical pooled screens with known truth, for the demo, the tests and planning."""
