"""The algorithm on SageMaker: requests are built from declarations in the code, checked, and sent with boto3."""
