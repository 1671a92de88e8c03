"""The dialect's routes, requests and replies."""
