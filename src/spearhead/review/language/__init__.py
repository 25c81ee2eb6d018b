"""Whether a text is in a language that the scenario answers in (py3langid: naive Bayes over byte n-grams)."""

from spearhead.review.example import Example
from spearhead.review.language.check import LanguageCheck

CHECK = LanguageCheck()
EXAMPLE = Example("Der schnelle braune Fuchs springt über den faulen Hund und geht nach Hause.", language="en")
