"""The CPU: a kernel in C, built once on this machine, and what feeds it."""
