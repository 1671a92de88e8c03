"""The same engine in a process of its own, behind a Unix socket. Knows no turn."""
