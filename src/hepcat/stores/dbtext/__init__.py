"""Kamailio's dbtext: a folder of text files, one a table, that its db_text module reads."""
