"""The names of the files in a trial's folder, beside the manifest and the costs."""

TRIAL = "trial.json"
PROGRESS = "progress.json"
FAILURE = "failure.json"
HISTORY = "history.parquet"
METRIC_LOG = "metrics.jsonl"
