"""HTTP: decode, call one service method, encode."""
