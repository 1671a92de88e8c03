"""The interface, described from what it is."""
