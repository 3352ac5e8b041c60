"""Recognition of more pictures than one process should hold: Ray Data in, parquet out."""
