"""A user of SageMaker's SDK 2: trains in local mode and transforms with both strategies.

Runs in the SDK's own virtual environment: ``sdk2_client.py TRAINING_IMAGE INFERENCE_IMAGE DATA OUTPUT PARAMETERS
[INSTANCES]``. DATA holds ``train.csv`` and ``test_noheader.csv``; PARAMETERS is a JSON object. Leaves
``OUTPUT/model.tar.gz`` and the answers in ``OUTPUT/MultiRecord`` and ``OUTPUT/SingleRecord``.
"""

import json
import os
import shutil
import sys
from pathlib import Path

# The SDK asks AWS for nothing that matters here, but it wants credentials and a region.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

training_image, inference_image, data, output, parameters, *instances = sys.argv[1:]
data_dir, output_dir = Path(data).resolve(), Path(output).resolve()
(output_dir / "train").mkdir(parents=True)
(output_dir / "lines").mkdir()
shutil.copy(data_dir / "train.csv", output_dir / "train")
shutil.copy(data_dir / "test_noheader.csv", output_dir / "lines")

session = LocalSession()
session.config = {"local": {"local_code": True, "container_root": str(output_dir)}}

estimator = Estimator(
    image_uri=training_image,
    role="arn:aws:iam::000000000000:role/none",
    instance_count=int(instances[0]) if instances else 1,
    instance_type="local",
    output_path=f"file://{output_dir}",
    hyperparameters=json.loads(parameters),
    # The containers share the cores of this machine.
    environment={"OMP_NUM_THREADS": "1"},
    sagemaker_session=session,
)
estimator.fit({"train": f"file://{output_dir / 'train'}"})

for strategy in ("MultiRecord", "SingleRecord"):
    model = estimator.create_model(image_uri=inference_image)
    transformer = model.transformer(
        instance_count=1,
        instance_type="local",
        strategy=strategy,
        assemble_with="Line",
        output_path=f"file://{output_dir / strategy}",
        max_payload=1,
    )
    transformer.transform(
        f"file://{output_dir / 'lines'}", content_type="text/csv", split_type="Line", wait=False, logs=False
    )
