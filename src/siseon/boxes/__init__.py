"""Operators on boxes (left, top, right, bottom): plain functions of tensors that know no model."""
