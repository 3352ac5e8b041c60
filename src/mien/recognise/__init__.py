"""From pictures to expressions: small, offline, free of torch."""
