"""A user of SageMaker's SDK 3: trains in local container mode and transforms through its local session.

Runs in the SDK's own virtual environment: ``sdk3_client.py TRAINING_IMAGE INFERENCE_IMAGE DATA OUTPUT PARAMETERS``,
as `sdk2_client` does. Leaves ``OUTPUT/compressed_artifacts/model.tar.gz`` and the answers in ``OUTPUT/MultiRecord``.
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

from sagemaker.core.local import LocalSession
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode

training_image, inference_image, data, output, parameters = sys.argv[1:]
data_dir, output_dir = Path(data).resolve(), Path(output).resolve()
(output_dir / "train").mkdir(parents=True)
(output_dir / "lines").mkdir()
shutil.copy(data_dir / "train.csv", output_dir / "train")
shutil.copy(data_dir / "test_noheader.csv", output_dir / "lines")

trainer = ModelTrainer(
    training_image=training_image,
    training_mode=Mode.LOCAL_CONTAINER,
    compute=Compute(instance_type="local_cpu", instance_count=1),
    hyperparameters=json.loads(parameters),
    # The container shares the cores of this machine.
    environment={"OMP_NUM_THREADS": "1"},
    local_container_root=str(output_dir),
    role="arn:aws:iam::000000000000:role/none",
    input_data_config=[InputData(channel_name="train", data_source=str(output_dir / "train"))],
)
trainer.train()

session = LocalSession()
session.config = {"local": {"local_code": True, "container_root": str(output_dir)}}
client = session.sagemaker_client
model = {"Image": inference_image, "ModelDataUrl": f"file://{output_dir / 'compressed_artifacts/model.tar.gz'}"}
client.create_model("model", {**model, "Environment": {}})
client.create_transform_job(
    TransformJobName="transform",
    ModelName="model",
    TransformInput={
        "ContentType": "text/csv",
        "SplitType": "Line",
        "DataSource": {"S3DataSource": {"S3Uri": f"file://{output_dir / 'lines'}", "S3DataType": "S3Prefix"}},
    },
    TransformOutput={"S3OutputPath": f"file://{output_dir / 'MultiRecord'}", "AssembleWith": "Line"},
    TransformResources={"InstanceType": "local", "InstanceCount": 1},
    BatchStrategy="MultiRecord",
    MaxPayloadInMB=1,
)
