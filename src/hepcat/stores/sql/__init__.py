"""The classic tables in SQL databases: MariaDB and MySQL, PostgreSQL, SQLite, ODBC."""
