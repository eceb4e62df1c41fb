"""Work items, and the executors that run them on one host or on several."""
