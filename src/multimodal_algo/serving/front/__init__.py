"""The front of a serving process: one thread reads and writes all connections, and others answer the requests."""
