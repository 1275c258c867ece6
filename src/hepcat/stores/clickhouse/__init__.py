"""ClickHouse as a store: one server, or a cluster whose shards hepcat writes to itself."""
