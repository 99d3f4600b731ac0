"""The task `tagging`: texts with weak labels in, a model that reads them out; see `tfx_pipeline.tasks`."""
