"""TensorBoard: one TensorBoard run per trial, written from the record."""
