"""The API's description, generated from its routes."""
