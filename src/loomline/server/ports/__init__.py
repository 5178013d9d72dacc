"""What the inside needs from the outside. Each method is one atomic act in the domain's words."""
