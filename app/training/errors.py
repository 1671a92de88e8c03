"""The exception of this room."""


class TrainingError(Exception):
    """Why training cannot start or continue, in one sentence with a remedy."""
