"""Continuo continues text."""
