# Generated from __init__.py by tools/unasync.py. Do not edit.
"""The synchronous client."""
