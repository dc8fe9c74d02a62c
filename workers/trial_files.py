"""The names of the files in a trial's folder, beside the manifest and the costs."""

TRIAL = "trial.json"
PROGRESS = "progress.json"
FAILURE = "failure.json"
HISTORY = "history.parquet"
ALONG = "along"
"""A folder: the operating points after so many epochs, as `<epochs>.parquet`."""
METRIC_LOG = "metrics.jsonl"
