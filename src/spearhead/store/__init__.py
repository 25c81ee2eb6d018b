"""Facts in one SQL database, bytes in a folder by hash, packages in a cache, releases on disk."""
