"""Reading a request's body, and writing a JSON reply."""
