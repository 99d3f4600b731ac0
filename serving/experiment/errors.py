"""What is raised where an experiment cannot go on."""


class ExperimentError(ValueError):
    """A configuration, a log or a question that cannot be used; the message is one sentence for a person."""
