"""Entities and decisions. Nothing here does I/O or knows a library of the outer layers."""
