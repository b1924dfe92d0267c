"""What the tests stand on: servers to judge, and a client that writes raw streams."""
