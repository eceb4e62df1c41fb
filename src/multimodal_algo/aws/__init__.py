"""The algorithm on SageMaker: requests built from code, checked, and sent by boto3."""
