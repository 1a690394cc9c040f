"""The command's own pieces, which belong to no other room."""
