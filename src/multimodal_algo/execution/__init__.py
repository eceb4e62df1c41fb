"""Work items (parts of a job that any host can do), and the executors that run them on one host or on several."""
