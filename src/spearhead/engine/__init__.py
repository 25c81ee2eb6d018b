"""A request in, events out: the only place where review, runtimes, labels and ledger meet."""
