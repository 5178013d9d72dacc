"""What the client decides, without any I/O."""
