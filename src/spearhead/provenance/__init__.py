"""Where a piece comes from: labels inside files, keys that sign them, the way back to the data, the audit log."""
