"""Training of the whole-body networks: synthetic data, trainer, evaluation."""
