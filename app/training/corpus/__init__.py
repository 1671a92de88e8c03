"""Text -> token files. Knows no model."""
