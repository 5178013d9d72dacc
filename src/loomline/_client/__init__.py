"""The client: decisions in ``_core``, the asynchronous source, and its generated twin."""
