"""The history of the schema, one revision a file in `versions/`. HEAD is the newest; a test holds it to that."""

HEAD = "0010"
