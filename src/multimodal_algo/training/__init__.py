"""The training job: it reads the train channel (input files), and writes the model artifact and its report."""
