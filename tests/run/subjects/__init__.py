"""Experiments with the configs of real ones, and next to nothing to trace."""
