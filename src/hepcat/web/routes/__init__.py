"""One module a group of routes, each with `router`; app.py includes them."""
