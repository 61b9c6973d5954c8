"""Experiments: one module each, run by `python -m experiments.run CONFIG`."""
