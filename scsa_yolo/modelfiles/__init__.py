"""Model YAMLs as files: the packaged ones, and those that a graft writes."""
