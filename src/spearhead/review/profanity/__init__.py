"""Coarse words in English and Chinese: never a reason by itself, unless a policy makes it one. Lists: `*.txt`."""

from spearhead.review.example import Example
from spearhead.review.wordlist import ListCheck

CHECK = ListCheck("profanity", "spearhead.review.profanity")
EXAMPLE = Example("What a load of bu\u200bllshit, 他妈的。")
