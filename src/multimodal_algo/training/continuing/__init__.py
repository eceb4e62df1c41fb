"""Training that continues from the artifact of a previous job, instead of beginning from nothing."""
