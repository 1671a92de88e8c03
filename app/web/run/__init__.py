"""From a completion to a response, and the connection it is sent over."""
