"""A REST service, live cameras and the page: recognition for browsers and other programs."""
