"""What stops a training, as a sentence."""


class TrainingError(Exception):
    """A training that cannot start or continue, explained in one sentence with a remedy."""
