"""What Alembic runs to apply revisions: on the connection, and in the transaction, of `database.migrate`."""

from alembic import context

from spearhead.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    render_as_batch=True,
)
context.run_migrations()
