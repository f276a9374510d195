"""Which PostgreSQL holds the data: how it is named, tested, and moved to another one."""
