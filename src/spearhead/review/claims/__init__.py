"""Numbers and names in an output that its source does not hold: inventions, as far as form shows them."""

from spearhead.review.claims.check import ClaimsCheck
from spearhead.review.example import Example

CHECK = ClaimsCheck()
EXAMPLE = Example("In 1999, Anna of Boston paid 3,000 coins.", source="Anna paid twelve coins.")
