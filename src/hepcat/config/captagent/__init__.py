"""captagent's configuration files, read as they are: captagent.xml, its modules' XML; TOML out of them."""
