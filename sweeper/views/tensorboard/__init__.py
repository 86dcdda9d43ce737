"""TensorBoard: one TensorBoard run per trial, written from the record, and the TensorBoard server."""
