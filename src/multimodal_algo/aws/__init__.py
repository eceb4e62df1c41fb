"""The algorithm on SageMaker: requests are made from code, checked, and sent by boto3."""
