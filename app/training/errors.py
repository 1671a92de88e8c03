"""The exceptions of this room."""


class TrainingError(Exception):
    """Why training cannot start or continue, in one sentence with a remedy."""


class NoText(TrainingError):
    """No file holds any; each was told when it was skipped."""

    def __init__(self) -> None:
        super().__init__("None of the files holds text; name others.")
