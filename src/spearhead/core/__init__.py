"""The vocabulary of spearhead: plain values and protocols, standard library and numpy only. Read this folder first."""
