"""Text inside pictures, Chinese and English (PP-OCR, from the package rapidocr), for the text checks of the policy."""

from spearhead.review.writing.check import WritingCheck

CHECK = WritingCheck()
