"""The training job: from the train channel to the artifact and its report."""
