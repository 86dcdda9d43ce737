"""Views of a sweep: the terminal, TensorBoard, figures and the report. All are rebuilt from the record at any time."""
