"""Whether an output copies what its release learnt from: the longest shared run of words, and overall likeness."""

from spearhead.review.copies.check import CopiesCheck
from spearhead.review.example import Example

CHECK = CopiesCheck()
EXAMPLE = Example(" ".join(f"word{number} of the text" for number in range(20)))
