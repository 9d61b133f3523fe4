"""Places where backups are kept: folders and S3-compatible buckets, by one small interface."""
