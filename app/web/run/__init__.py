"""A completion -> a response, and the connection it goes over."""
