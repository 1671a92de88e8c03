"""The CPU's own arithmetic."""
