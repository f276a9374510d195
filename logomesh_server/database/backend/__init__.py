"""Django's PostgreSQL backend, which does not let everybody wait while the database is away."""
