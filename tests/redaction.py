"""What stands in the log in the place of a secret."""

from audit.capture import redaction


def tag(value):
    (present, *_) = redaction.installed().tags_of(value)
    return present
