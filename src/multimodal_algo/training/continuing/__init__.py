"""Training that goes on from the artifact of a previous job."""
