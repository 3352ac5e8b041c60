"""Recognition of more pictures than one process should hold: a folder, parquet or a bucket in, parquet out.

    dataset -> plan (which pictures are a shard) -> Ray: a task a shard, a recogniser a worker -> a file a shard

Ray deals out the shards and starts again those whose worker died; what is done is told by the files
alone. A shard's file appears whole or not at all and always under the same name, so a shard that is
recognised twice, by accident or after a restart, is there once. Needs the 'scale' extra.
"""

from mien.errors import extra_required

with extra_required("scale", "Recognising with Ray"):
    import pyarrow  # noqa: F401

from mien.predict_on_ray.job import Recognised, recognise

__all__ = ["Recognised", "recognise"]
