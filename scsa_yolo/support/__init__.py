"""What every room may use: files written whole, hashes, checks, text. It knows no room."""
