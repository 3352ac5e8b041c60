"""The HTTP service: REST routes, live cameras over WebSocket, and the web page."""
