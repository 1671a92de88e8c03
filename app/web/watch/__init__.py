"""What operators see: a log line per request, and metrics."""
