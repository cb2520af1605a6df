"""One file per scheduler: pure pairs of a command and the parser of what it prints."""
