"""The database's migrations, run by alembic through `rentgate migrate`."""
