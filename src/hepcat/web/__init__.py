"""The page and the HTTP API: a face of search and control, without logic of its own."""
