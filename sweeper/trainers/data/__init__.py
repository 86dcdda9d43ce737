"""The data of the built-in text trainer: corpora, downloads, tokenizers, encodings and batches."""
