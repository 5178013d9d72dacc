"""Weft: a client for and a server of LangGraph agents."""

__version__ = "0.1.0"
