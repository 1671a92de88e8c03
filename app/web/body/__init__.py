"""What a request's body may say, and a value as a reply."""
