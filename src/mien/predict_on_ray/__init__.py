"""Recognise large sets of pictures with Ray: from a folder, parquet files or a bucket to parquet files.

    dataset -> plan (pictures of each shard) -> Ray (one task for each shard, one recogniser for each worker) -> files

Ray distributes the shards to workers and repeats those whose worker died. A shard is done if its file exists. The file
appears completely or not at all, always under the same name, so a shard that is recognised twice, by accident or
after a restart, has only one file. Needs the 'scale' extra.
"""

from mien.errors import extra_required

with extra_required("scale", "Recognising with Ray"):
    import pyarrow  # noqa: F401

from mien.predict_on_ray.job import Recognised as Recognised
from mien.predict_on_ray.job import recognise as recognise
