"""What the races train; each module is also an experiment that the runner can load.

Besides `Config` and `build`, a module has `make_model`, `mean_loss` and `numpy_batch`,
so that every contestant trains the same model on the same kind of batch.
"""
