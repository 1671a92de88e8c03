"""Making new weights. Knows no server."""
