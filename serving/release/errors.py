"""What is raised where a release cannot go on."""


class ReleaseError(ValueError):
    """Settings, a version, a server or a command that cannot be used; the message is one sentence for a person."""
