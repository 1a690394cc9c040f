"""Native formats: one reader a file, the user's source, and the records that every reader
yields.
"""
