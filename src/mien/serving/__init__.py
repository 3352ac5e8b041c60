"""The service: a REST API, a live page, and the same page without a server."""
