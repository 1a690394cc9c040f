"""What a run leaves: one record, and the facts that it states."""
