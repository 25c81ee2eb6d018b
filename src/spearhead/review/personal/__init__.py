"""Personal data by its form and its check digits: addresses, telephones, identity and account numbers."""

from spearhead.review.personal.check import PersonalCheck

CHECK = PersonalCheck()
