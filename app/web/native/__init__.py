"""The native API: /generate and the routes around it."""
