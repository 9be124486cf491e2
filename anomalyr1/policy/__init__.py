"""The policy: loading, building and decoding."""
