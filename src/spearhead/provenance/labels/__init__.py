"""One file a label: how it is put into a piece and how it is read back."""
