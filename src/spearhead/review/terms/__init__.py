"""Harmful terms in English and Chinese, found whatever they are dressed in. Lists: `en.txt`, `zh.txt`."""

from spearhead.review.terms.check import TermsCheck

CHECK = TermsCheck()
