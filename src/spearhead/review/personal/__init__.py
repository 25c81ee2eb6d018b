"""Personal data by its form and its check digits: addresses, telephones, identity and account numbers."""

from spearhead.review.example import Example
from spearhead.review.personal.check import PersonalCheck

CHECK = PersonalCheck()
EXAMPLE = Example("Write to bob@acme-corp.com or 138 0013 8000 \U0001f600.")
